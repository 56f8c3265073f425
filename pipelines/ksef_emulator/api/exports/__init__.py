"""Exports of invoices: what may be asked for, when it is done, and the package it ends in."""
