"""One load: what KSeF has and the warehouse lacks, into the raw tables."""
