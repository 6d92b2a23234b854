"""`circusctl completion SHELL`: the script that lets bash, zsh or fish ask circusctl at each TAB."""

from __future__ import annotations

from circus.cli.asking import Command, Daemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from circus.cli.asking import Answer

# The first line of an answer says whether words follow or files are meant; the command is asked as it was typed.

_BASH = r"""# circusctl: words for TAB in bash.
_circusctl() {
    local line kind=
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ -z $kind ]]; then kind=$line; else COMPREPLY+=("$line"); fi
    done < <("${1/#\~/$HOME}" __complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    if [[ $kind == files ]]; then
        compopt -o default 2>/dev/null
    elif [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _circusctl circusctl
"""

_ZSH = r"""#compdef circusctl
# circusctl: words for TAB in zsh.
_circusctl() {
    local line kind
    local -a answer found shown
    answer=("${(@f)$(${~words[1]} __complete zsh "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    kind=$answer[1]
    shift answer
    if [[ $kind == files ]]; then
        _files
        return
    fi
    for line in "${answer[@]}"; do
        [[ -n $line ]] || continue
        found+=("${line%%$'\t'*}")
        shown+=("${line/$'\t'/  -- }")
    done
    [[ ${found[1]} == *= ]] && { compadd -S '' -a found; return }
    compadd -l -d shown -a found
}
if [[ $funcstack[1] == _circusctl ]]; then
    _circusctl "$@"
else
    compdef _circusctl circusctl
fi
"""

_FISH = r"""# circusctl: words for TAB in fish.
function __circusctl_words
    set -l before (commandline -opc)
    set -l begun (commandline -ct)
    set -l program $before[1]
    set -e before[1]
    set -l answer ($program __complete fish $before "$begun" 2>/dev/null)
    if test "$answer[1]" = files
        __fish_complete_path "$begun"
    else
        set -e answer[1]
        printf '%s\n' $answer
    end
end
complete -c circusctl -f -a '(__circusctl_words)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

_EPILOG = """\
  bash   source <(circusctl completion bash)        in ~/.bashrc
  zsh    source <(circusctl completion zsh)         in ~/.zshrc, behind compinit
  fish   circusctl completion fish | source         in ~/.config/fish/config.fish

Or for all users of the host, once, by its administrator:

  circusctl completion bash > /usr/share/bash-completion/completions/circusctl
  circusctl completion zsh > /usr/share/zsh/vendor-completions/_circusctl
  circusctl completion fish > /usr/share/fish/vendor_completions.d/circusctl.fish"""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shell", metavar="SHELL", choices=tuple(_SCRIPTS), help="bash, zsh or fish: whose script is printed"
    )
    parser.epilog = _EPILOG


def _run(_daemon: Daemon, args: argparse.Namespace) -> Answer:
    return {"shell": args.shell, "script": _SCRIPTS[args.shell]}


def _lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    return str(answer["script"]).splitlines()


COMMANDS = (Command("completion", "words for TAB in bash, zsh or fish", _run, _lines, _arguments),)
