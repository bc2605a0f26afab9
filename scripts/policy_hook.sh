#!/bin/sh
# The pre-commit hook: check every document that is named, and run the table of cases beside each.
set -u
run=${LOCALGPT_RUN:-$(dirname "$0")/../run} # an installed localgpt, or the clone's own locked environment
status=0
for file in "$@"; do
  case $file in
    *.cases.toml) document=${file%.cases.toml}.md ;;
    *) document=$file ;;
  esac
  [ -e "$document" ] || continue
  "$run" policy check "$document" || status=1
  [ ! -e "${document%.md}.cases.toml" ] || "$run" policy test "$document" || status=1
done
exit $status
