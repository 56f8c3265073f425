"""`python -m tools` writes every generated file and table anew, and says which ones changed."""

from pathlib import Path

from tools.generated import generated, left_over

ROOT = Path(__file__).parents[1]

for path, text in generated(ROOT).items():
    file = ROOT / path
    if not file.exists() or file.read_text() != text:
        file.write_text(text)
        print(f"written: {path}")
for path in left_over(ROOT):
    (ROOT / path).unlink()
    print(f"removed: {path}")
