# At each call of show(): what is expected, and what the printer says of the lock.
set debuginfod enabled off
set disable-randomization off
set startup-with-shell off
break show
commands
  silent
  printf "expected %s\n", expected
  printf "found "
  output *&lock
  printf "\n"
  set $copy = *&lock
  continue
end
run
printf "expected a copy of a lock (print the lock itself)\nfound "
output $copy
printf "\n"
