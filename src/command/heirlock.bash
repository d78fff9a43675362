# Completion for bash. It asks the program for its options.
_heirlock() {
  local program=$1 word=$2 previous=$3 subcommand=${COMP_WORDS[1]} given i
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W 'list show watch run remove clean doctor --help --version' -- "$word")
    return
  fi
  if [[ $subcommand == run ]]; then
    for ((i = 2; i < COMP_CWORD; ++i)); do
      [[ ${COMP_WORDS[i]} == -- ]] || continue
      ((i + 1 < COMP_CWORD)) || mapfile -t COMPREPLY < <(compgen -c -- "$word")
      return  # and bash completes files
    done
  fi
  if [[ $previous == --output ]]; then  # the last of NAME,NAME,...
    given=${word%"${word##*,}"}
    mapfile -t COMPREPLY < <(compgen -P "$given" -W "$("$program" list --help | sed -n 's/^  \([A-Z-]*\) .*/\1/p')" -- "${word##*,}")
    compopt -o nospace
  elif [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$("$program" "$subcommand" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u)" -- "$word")
  elif [[ $subcommand == @(show|watch|run|remove) && $previous != --@(timeout|offset) ]]; then
    mapfile -t COMPREPLY < <(cd /dev/shm 2>/dev/null && compgen -G "heirlock.$word*" | sed 's/^heirlock\.//')
  fi
}
complete -o default -F _heirlock heirlock
