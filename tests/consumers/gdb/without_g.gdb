# At each call of stop(): what is expected, and what the command says of the lock at this address; of one that is
# a variable also by its name.
set debuginfod enabled off
set disable-randomization off
set startup-with-shell off
break stop
commands
  silent
  printf "expected %s\nfound ", *(char**)&expected_of_it
  heirlock *(long*)&shown
  if *(long*)&shown == (long)&a_counter
    printf "expected %s\nfound ", *(char**)&expected_of_it
    heirlock a_counter
  end
  continue
end
run
