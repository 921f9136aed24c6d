#!/usr/bin/env bash
# Every check that runs nothing: all are made, and all that failed are named at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
ensure_cargo

MAX_LINES=400
MAKEFILE_MAX_LINES=119

failed=()
check() { # check NAME COMMAND...
  local name=$1
  shift
  say "== $name"
  "$@" || failed+=("$name")
}

files() { # files NAME_PATTERN...: ours only
  local pattern args=()
  for pattern in "$@"; do args+=(-o -name "$pattern"); done
  find . \( -name .git -o -name target -o -name dist -o -name .cache -o -name node_modules \) -prune \
    -o -type f \( "${args[@]:1}" \) -print | sort
}

# Packages that are Wasm modules.
MODULES=(leastload-plugin leastload-empty leastload-probe leastload-stamps)

native_clippy() {
  cargo clippy --locked --workspace "${MODULES[@]/#/--exclude=}" --all-targets -- -D warnings
}

# For the target they are built for, where its std is here; the lints are the same natively.
modules_clippy() {
  local target=()
  if has_std wasm32-wasip1; then target=(--target wasm32-wasip1); fi
  cargo clippy --locked "${MODULES[@]/#/--package=}" --all-features "${target[@]}" -- -D warnings
}

shell_scripts() {
  files '*.sh'
  grep -lE '^#!.*\b(ba)?sh\b' .ci/* 2>/dev/null || true
}
shell_check() { shell_scripts | xargs shellcheck -x; }

python_syntax() {
  files '*.py' | xargs python3 -c 'import ast, sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        ast.parse(file.read(), path)'
}

too_long() {
  local path lines bad=0
  while read -r path; do
    lines=$(wc -l <"$path")
    if [ "$lines" -gt "$MAX_LINES" ]; then say "$path has $lines lines, more than $MAX_LINES"; bad=1; fi
  done < <(files '*.rs' '*.sh' '*.py')
  lines=$(wc -l <Makefile)
  if [ "$lines" -gt "$MAKEFILE_MAX_LINES" ]; then say "Makefile has $lines lines, more than $MAKEFILE_MAX_LINES"; bad=1; fi
  return $bad
}

check "rustfmt" cargo fmt --all --check
check "clippy" native_clippy
check "clippy of the modules" modules_clippy
check "shellcheck" shell_check
check "python syntax" python_syntax
check "length of files" too_long

[ ${#failed[@]} -eq 0 ] || die "lint failed: $(printf '%s, ' "${failed[@]}" | sed 's/, $//')."
say "lint passed"
