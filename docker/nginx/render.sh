#!/bin/sh
# Writes nginx's configuration to the folder $1, with the values of the environment, for machines without containers
# (nginx's own image does the same by itself). Needs envsubst, of Debian's gettext-base.
# Without PARTNERS_LISTEN there is no server for people and partners (an edge without the registry), without LEGACY_LISTEN
# no legacy listener.
set -eu

here=$(dirname "$(readlink -f "$0")")
to=$1

: "${REQUESTS_PER_SECOND:=100}" "${REQUESTS_AT_ONCE:=3000}" "${UNLIMITED_NETWORKS:=}"
: "${EDOS_PATH:=/software/edos/callhome/rc}" "${SHORT_CODE_PATH:=/software/edos/callhome/cda}"
: "${ACTIVATION_PATH:=/gds/activate}" "${BEACON_PATH:=/software/edos/callhome/acquired}"
: "${REPORT_PATH:=/software/edos/callhome/report}"
export REQUESTS_PER_SECOND REQUESTS_AT_ONCE UNLIMITED_NETWORKS
export EDOS_PATH SHORT_CODE_PATH ACTIVATION_PATH BEACON_PATH REPORT_PATH

# nginx's own variables look alike: only names that are used here and written so are replaced.
render() {
    names=$(grep -o '\${[A-Z_]*}' "$1" | sort -u)
    for name in $names; do
        plain=${name#??}
        eval "[ \"\${${plain%?}+given}\" = given ]" || {
            echo "${plain%?} is not set; see docker/systemd/example.edge." >&2
            exit 1
        }
    done
    envsubst "$names" < "$1" > "$to/conf.d/$(basename "$1" .template)"
}

mkdir -p "$to/conf.d"
rm -rf "$to/snippets" "$to/conf.d/"*.conf
cp -r "$here/snippets" "$to/snippets"
cp "$here/nginx.conf" "$to/nginx.conf"
render "$here/templates/behind.conf.template"
render "$here/templates/phones.conf.template"
[ -z "${PARTNERS_LISTEN:-}" ] || render "$here/templates/partners.conf.template"
[ -z "${LEGACY_LISTEN:-}" ] || render "$here/legacy/legacy.conf.template"
