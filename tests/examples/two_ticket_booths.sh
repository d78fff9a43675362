#!/usr/bin/env bash
# two_ticket_booths.sh PROGRAM: starts the program twice, each on its own, and checks that the two sold every
# ticket once.
set -euo pipefail
booth=$1
roll=example.$$
trap '"$booth" "$roll" remove' EXIT

exec {first}< <("$booth" "$roll")
exec {second}< <("$booth" "$roll")
read -r -u "$first" _ sold_by_first
read -r -u "$second" _ sold_by_second

echo "sold $sold_by_first and $sold_by_second tickets of 1000000"
((sold_by_first + sold_by_second == 1000000))
