# A script for `ready = notify`: what it needs comes first, then it is ready.
set -e
systemd-notify --status="warming up"
test -d /srv/services
systemd-notify --ready --status="at work"
echo "ready, pid $$"
exec sleep 1000000
