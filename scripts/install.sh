#!/bin/sh
# Puts AgentOS on this Debian or Ubuntu from its package, or takes it off again; `install.sh --help` says how.
# All is in functions and the last line calls them, so half of this file, as a broken download leaves it, does nothing.

usage() {
    cat <<'END'
Puts AgentOS on this machine: Debian 12 or 13, Ubuntu 22.04 or 24.04, on amd64 or arm64.
Usage: sudo ./install.sh [--package FILE] [OPTIONS]      or: sudo ./install.sh --uninstall [--purge]

  --package FILE         the package; without it the one beside this script, or in target/package of the checkout
  --model-key-file FILE  a file with the model's key, alone or as NAME=KEY. Or set ANTHROPIC_API_KEY, OPENAI_API_KEY or
                         OPENROUTER_API_KEY and use `sudo --preserve-env=ANTHROPIC_API_KEY`. A key is never an
                         argument: every user of the machine can read those. Without a key a scripted model plays.
  --operator USER        who may operate the machine (group agentos-operators); without it the user who called sudo
  --no-operator          nobody but root may
  --registry URL         npm registry, or file:// folder, that Node and OpenClaw come from
  --offline              take Node and OpenClaw from what was downloaded before
  --no-start             for an image or a container without systemd: start nothing and set up no gateway
  --uninstall            take the package off; keeps settings, ledger, memory and conversations
  --purge                with --uninstall: delete all but the ledger and the memory
  --dry-run              say what would be done and change nothing; needs no root
  --yes                  do not ask
Exit status: 0 done and verified (without a network agentd runs, and the text says that the gateway is missing);
  1 failed, or installed and not well: the same command again goes on where it ended;
  2 wrong usage: options, no root, nobody there to ask; 3 this system is not supported; 4 you declined.
Example: sudo ./install.sh --package ./agentos_0.1.0_amd64.deb --model-key-file ./anthropic.key
END
}

SUPPORTED='Supported: Debian 12 and 13, Ubuntu 22.04 and 24.04, on amd64 and arm64, with systemd.'
LOG=/var/log/agentos-install.log
# What a purge deletes: what can be made again, and the conversations. The record, /var/lib/agentos, is not among it.
PURGED='/etc/agentos /var/lib/agentos-runtime /var/lib/agentos-gateway /var/lib/openclaw /var/cache/agentos-setup /var/cache/agentos-packages'

# The caller's environment is not trusted: but for a few names nothing of it reaches what root runs, and the model's key
# reaches only the one program that stores it.
harden() {
    PATH=/usr/sbin:/usr/bin:/sbin:/bin
    IFS=$(printf ' \t\n.') && IFS=${IFS%.}
    # A variable that the caller exported would hand on what is put into it below.
    unset ENV BASH_ENV CDPATH LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT name value key key_name && key='' key_name=''
    for name in ANTHROPIC_API_KEY OPENAI_API_KEY OPENROUTER_API_KEY; do
        eval "value=\${$name:-}"
        if [ -z "$key" ] && [ -n "$value" ]; then key=$value key_name=$name; fi
    done
    for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
        case $name in
            PATH | IFS | PWD | TERM | NO_COLOR | SUDO_USER | http_proxy | https_proxy | no_proxy | HTTPS_PROXY | NO_PROXY) ;;
            SUPPORTED | LOG | PURGED | key | key_name | name | SHELLOPTS | BASHOPTS | EUID | PPID | UID) ;;
            *) unset "$name" ;;
        esac
    done
    # needrestart would restart services that are not ours, sshd among them.
    export PATH LC_ALL=C HOME=/root DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none
    umask 022 && bold='' green='' red='' yellow='' plain='' escape=$(printf '\033[')
    [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ] || return 0
    bold=${escape}1m green=${escape}32m red=${escape}31m yellow=${escape}33m plain=${escape}0m
}

say() { printf '%s\n' "$@"; }
good() { say "$green✓$plain $1"; }
bad() { failures=$((failures + 1)) && say "$red✗$plain $1"; }
# die STATUS WHAT-HAPPENED [WHAT-TO-DO]
die() { printf '%s\n' "install.sh: $2" ${3:+"  $3"} >&2 || :; exit "$1"; }

parse() {
    package='' key_file='' registry='' offline='' start=yes action=install purge=no dry_run=no assume_yes=no
    failures=0 gateway=no operator=${SUDO_USER:-} && if [ "$operator" = root ]; then operator=''; fi
    while [ $# -gt 0 ]; do
        option=$1 value=${2:-} words=1
        case " $option $value" in
            *[\ =]sk-* | *_API_KEY=* | ' --model-key'[\ =]* | ' --api-key'* | ' --key'[\ =]*)
                die 2 'this looks like a model key on the command line, where every user of the machine can read it.' \
                    'Since it was shown, get a new one, in a file that only you can read: --model-key-file FILE' ;;
        esac
        case $option in --*=*) value=${option#*=} option=${option%%=*} words=0 ;; esac
        case $option in
            --package | --model-key-file | --operator | --registry)
                case $value in '' | -*) die 2 "$option needs a value." 'install.sh --help shows how.' ;; esac
                shift "$words" ;;
        esac
        case $option in
            --package) package=$value ;; --model-key-file) key_file=$value key='' key_name='' ;;
            --operator) operator=$value ;; --no-operator) operator='' ;;
            --registry) registry=$value ;; --offline) offline=yes ;;
            --uninstall) action=uninstall ;; --purge) purge=yes ;;
            --no-start) start=no ;; --dry-run) dry_run=yes ;; --yes | -y) assume_yes=yes ;; --help | -h) usage; exit ;;
            -*) die 2 "there is no option $option." 'install.sh --help lists them.' ;;
            # It is not repeated: it may be a key.
            *) die 2 'an argument stands there without an option.' 'A package goes after --package; a key is never an argument.' ;;
        esac
        shift
    done
    [ "$purge" = no ] || [ "$action" = uninstall ] || die 2 '--purge goes with --uninstall.' 'install.sh --help shows how.'
    [ "$(id -u)" = 0 ] || { HOME=/ && [ "$dry_run" = yes ]; } || die 2 'this needs root.' 'Run it with sudo; or with --dry-run, to see what it does.'
}

check_system() {
    # os-release(5) is read, not executed.
    os_field() { sed -n "s/^$1=//p" /etc/os-release 2>/dev/null | head -n 1 | tr -d "\"'" | tr -cd '[:print:]'; }
    system=$(os_field PRETTY_NAME) && system=${system:-an unknown system}
    case $(os_field ID):$(os_field VERSION_ID) in
        debian:12 | debian:13 | ubuntu:22.04 | ubuntu:24.04) architecture=$(dpkg --print-architecture) ;;
        nixos:*) die 3 "this is $system. AgentOS for NixOS is a module of the project's flake, not this package." ;;
        *) die 3 "this is $system, which is not supported." "$SUPPORTED" ;;
    esac
    case $architecture in amd64 | arm64) ;; *) die 3 "this machine is $architecture, which is not supported." "$SUPPORTED" ;; esac
    [ -d /run/systemd/system ] || [ "$start" = no ] || die 3 'systemd does not run here, and agentd needs it.' \
        'In a container or an image, --no-start installs without starting anything.'
    [ ! -d /run/systemd/system ] || [ "$start" = yes ] || die 2 '--no-start is for where systemd does not run.'
}

find_package() {
    # Piped into sh there is no file beside which to look, and what lies in the current folder is not to be installed.
    if [ -z "$package" ] && [ -f "$0" ]; then
        here=$(cd -- "$(dirname -- "$0")" && pwd -P)
        for file in "$here"/agentos_*_"$architecture".deb "$here"/../target/package/agentos_*_"$architecture".deb; do
            [ -f "$file" ] || continue
            [ -z "$package" ] || die 2 "there are several packages: $package, $file" 'Name one: --package FILE'
            package=$file
        done
    fi
    [ -n "$package" ] || die 2 'which package? There is none beside this script.' 'Name it: --package FILE'
    case $package in /*) ;; *) package=$(pwd -P)/$package ;; esac
    field() { in_package control | sed -n "s/^$1: //p"; }
    # The whole is read, because what describes a package stands at its beginning, and is there in a broken download too.
    if [ "$(field Package)" != agentos ] || ! dpkg-deb --fsys-tarfile "$package" >/dev/null 2>&1; then
        die 2 "$package is not there, or no whole package of AgentOS." 'Name one: --package FILE'
    fi
    [ "$(field Architecture)" = "$architecture" ] || die 2 "$package is for $(field Architecture), and this machine is $architecture."
    version=$(field Version) needs=$(field Depends)
}

# in_package FILE: from the package's control files. Through a pipe, because dpkg-deb itself would write in /tmp to show them.
in_package() { dpkg-deb --ctrl-tarfile "$package" 2>/dev/null | tar --extract --to-stdout --wildcards "*$1" 2>/dev/null; }
# installed FIELD: what dpkg knows of the package; nothing when it does not know it.
installed() { dpkg-query --show --showformat "\${$1}" agentos 2>/dev/null || :; }
# Whether the same files are installed already, or others of the same version, another version, or nothing.
compare() {
    how=installs present=$(installed Version)
    [ "$(installed db:Status-Status)" = installed ] || return 0
    if dpkg --compare-versions "$present" gt "$version"; then
        die 1 "AgentOS $present is installed; going back to $version is not supported." 'If you must: --uninstall keeps your data.'
    elif [ "$present" != "$version" ]; then how="upgrades from $present"
    elif in_package md5sums | cmp -s - /var/lib/dpkg/info/agentos.md5sums; then how=same
    else how='installs again'; fi
}

check_options() {
    [ -z "$key_file" ] || [ -n "$(head -c 1 -- "$key_file" 2>/dev/null)" ] ||
        die 2 'the file with the model key cannot be read, or is empty.' 'See what --model-key-file names.'
    [ -z "$operator" ] || id -u -- "$operator" >/dev/null 2>&1 || die 2 'the operator is no user here.' 'Name one: --operator USER'
    [ "$operator" != openclaw ] || die 2 'openclaw is the user of the agent, which must not approve what it asks for.' 'Name a person.'
}

# Bounds, in megabytes: the package; Node with OpenClaw; their download.
check_space() {
    set -- /usr 100
    [ "$start" = no ] || [ -e /var/lib/agentos-runtime/current/.complete ] || set -- "$@" /var/lib 1500 /var/cache 400
    while [ $# -gt 0 ]; do
        free=$(df -Pk -- "$1" | awk 'NR == 2 { print int($4 / 1024) }')
        [ "$free" -ge "$2" ] || die 1 "too little space: $1 needs $2 MB, and has $free." 'Make room, then run this again.'
        shift 2
    done
}

plan_install() {
    say "${bold}AgentOS $version$plain" "  now         $system, $architecture" \
        '  afterwards  the same system with AgentOS on it; nothing of it is replaced' 'What will be done:'
    if [ "$how" = same ]; then say '  - the package is installed already, and stays as it is'
    else say "  - apt-get $how: $package" "    with what it needs: ${needs:-nothing}" \
        '    It makes the system user openclaw and two groups. What you changed in /etc/agentos stays.'; fi
    if [ "$start" = no ]; then say '  - nothing is started, and no gateway is set up'
    else say "  - agentos-setup installs Node and OpenClaw in /var/lib/agentos-runtime (1 GB) from ${registry:-the npm registry}" \
        "    the model's key: ${key_file:-${key_name:-none. One set before stays; else a scripted model plays, and says so}}" \
        '  - systemd starts agentd and the gateway, now and at each boot; then the health and the ledger are checked'; fi
    say "  - ${operator:-nobody but root} may talk to the machine, read its record, approve (group agentos-operators)" \
        'Never touched: passwords, ssh, the firewall.' ''
}

# confirm QUESTION ANSWER: asks once, on the terminal, because standard input may be this script.
confirm() {
    if [ "$dry_run" = yes ]; then say 'Dry run: nothing was changed.' && exit 0; fi
    [ "$assume_yes" = no ] || return 0
    (: </dev/tty) 2>/dev/null || die 2 'there is no terminal to ask on.' 'If the above is what you want, add --yes.'
    printf '%s ' "$1" >/dev/tty && answer='' && { read -r answer </dev/tty || :; }
    case $answer:$2 in "$2:$2" | [yY]:yes | [yY][eE][sS]:yes) ;; *) die 4 'declined: nothing was changed.' ;; esac
}

# The log is made anew, so that no link that somebody put there is followed. It holds what apt and systemd print.
open_log() {
    rm -f -- "$LOG" && set -C && umask 077 && exec 3>"$LOG" && umask 022 && set +C
    trap 'die 1 "interrupted." "The same command again goes on where this ended."' INT TERM HUP
}

# step TEXT COMMAND…: runs it into the log and says how it ended.
step() {
    text=$1 && shift
    if [ -t 1 ]; then printf '… %s\r' "$text"; else say "… $text"; fi
    printf '\n$ %s\n' "$*" >&3
    if "$@" </dev/null >&3 2>&3; then good "$text" && return 0; fi
    bad "$text" && tail -n 15 "$LOG" | sed 's/^/    /' >&2
    die 1 "failed: $*" "$LOG has all of it. Once the cause is gone, the same command again goes on."
}
apt() { # The gateway is set up afterwards, where a person sees how far it is.
     AGENTOS_SKIP_SETUP=1 apt-get -q --yes -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@"; }
# Waits until no other apt or dpkg is at work, and finishes what one left half done.
settle_dpkg() {
    if holder=$(apt-get check 2>&1 </dev/null | grep -m 1 'Could not get lock'); then
        say "… Waiting, at most 10 minutes: ${holder#E: }"
        apt check </dev/null >&3 2>&3 || :; fi
    [ -n "$(dpkg --audit)$(ls /var/lib/dpkg/updates)" ] || return 0
    say '… An installation was cut off here: dpkg finishes it' # and may fail: the package can be what repairs it
    dpkg --force-confold --configure -a </dev/null >&3 2>&3 || :
}

install_package() {
    settle_dpkg; compare
    if [ "$how" = same ]; then good "AgentOS $version is installed" && return 0; fi
    set -- install --no-install-recommends --reinstall "$package"
    # The lists are fetched only when something is missing: a machine without a network may have all that is needed.
    if ! apt --simulate "$@" </dev/null >&3 2>&3; then
        say '… Fetching the lists of packages'
        apt -o APT::Update::Error-Mode=any update </dev/null >&3 2>&3 || say "$yellow!$plain Not all could be fetched: $LOG says why"
    fi
    step "Installing AgentOS $version" apt "$@"
}

set_up_gateway() {
    status=0
    ([ -z "$key_name" ] || export "$key_name=$key"
        exec agentos-setup ${registry:+--registry "$registry"} ${offline:+--offline} \
            ${key_file:+--model-key-file "$key_file"} ${key_name:+--model-key-env "$key_name"}) </dev/null 3>&- || status=$?
    case $status in
        0) gateway=yes && good 'Node, OpenClaw and the model are set up' ;;
        3) say "$yellow!$plain No way to the registry: agentd works, the gateway is missing. Later: sudo agentos-setup" ;;
        *) bad "The gateway is not set up: agentos-setup ended with $status, and says why above. Again: sudo agentos-setup" ;;
    esac
}

# verify SECONDS TEXT ADVICE COMMAND…: waits that long until the command ends well.
verify() {
    deadline=$(($(date +%s) + $1)) text=$2 advice=$3 && shift 3
    [ ! -t 1 ] || printf '… %s\r' "$text"
    until "$@" </dev/null >&3 2>&3; do
        if [ "$(date +%s)" -lt "$deadline" ]; then sleep 1 && continue; fi
        bad "Not so: $text. See: $advice" && tail -n 3 "$LOG" | uniq | sed 's/^/    /' && return 0
    done
    good "$text"
}

start_and_verify() {
    for unit in agentd.socket agentd-operator.socket agentd.service agentos.target; do
        systemctl is-active --quiet "$unit" || verify 0 "$unit runs" "journalctl -u $unit" systemctl enable --now "$unit"
    done
    verify 20 'agentd answers /health' 'journalctl -u agentd' agentctl health --json
    verify 0 'The ledger is whole' 'agentctl verify-ledger' agentctl verify-ledger
    [ "$gateway" = no ] || verify 180 'The gateway is ready' 'journalctl -u openclaw-gateway' \
        /var/lib/agentos-runtime/current/bin/node -e 'const { url } = require("/var/lib/agentos-gateway/operator.json");
            fetch(url + "/readyz", { signal: AbortSignal.timeout(5000) }).then(({ ok }) => process.exit(ok ? 0 : 1))'
    [ "$failures" -eq 0 ] || die 1 'AgentOS is installed, and not all is well: see the lines with ✗.' "$LOG has what was run."
    say '' "${bold}AgentOS $version is up on $system.$plain What to type next:"
    [ "$gateway" = no ] || say '  agentctl chat      talk to the machine'
    say '  agentctl health    how it is' '  agentctl events    what was asked of it, and by whom' '  man agentctl       the rest'
    [ -z "$operator" ] || say "$operator is an operator from the next login on; until then with sudo."
}

uninstall() {
    say "${bold}Taking AgentOS off this machine$plain" '  - agentd and the gateway are stopped, and their programs removed'
    if [ "$purge" = no ]; then say "  - kept for a later installation: $PURGED"
    else say "  - deleted for good: $PURGED" "    which is: settings, the model's key, Node, OpenClaw, and the conversations with the agent"; fi
    say '  - kept: /var/lib/agentos, the ledger and the memory' ''
    if [ "$purge" = no ]; then confirm 'Go on? [y/N]' yes; else confirm 'Type the word purge to go on:' purge; fi
    open_log; settle_dpkg
    # dpkg and not apt, which refuses to remove what was cut off half way.
    case $purge:$(installed db:Status-Status) in
        *: | *:not-installed | no:config-files) good 'AgentOS is not installed' ;;
        no:*) step 'Removing the package' dpkg --force-remove-reinstreq --remove agentos ;;
        *) step 'Purging the package' dpkg --force-remove-reinstreq --purge agentos ;;
    esac
    for gone in $PURGED; do [ "$purge" = no ] || rm -rf --one-file-system -- "$gone"; done
    for left in /var/lib/agentos $PURGED; do [ ! -e "$left" ] || say "  remains: $left"; done
    [ ! -e /var/lib/agentos ] || say 'To delete the ledger and the memory too, which nothing brings back: sudo rm -r /var/lib/agentos'
}

main() {
    set -eu
    harden; parse "$@"
    if [ "$action" = uninstall ]; then uninstall; exit; fi
    # Not joined by &&, which would keep a failure inside of them from ending the script.
    check_system; find_package; compare; check_options; check_space
    plan_install; confirm 'Go on? [y/N]' yes
    open_log; install_package
    [ -z "$operator" ] || step "Making $operator an operator" usermod --append --groups agentos-operators "$operator"
    if [ "$start" = no ]; then say '' "AgentOS $version is installed. Once the machine runs: sudo agentos-setup" && exit; fi
    set_up_gateway; start_and_verify; exit
}

main "$@"
