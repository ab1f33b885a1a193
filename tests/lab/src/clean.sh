# Cleans up after a lab: sh clean.sh DIRECTORY OWNER
#
# Waits until its standard input ends, which is when the owner closes the pipe or dies by whatever
# signal; then ends what still runs in the lab's namespaces and removes them, the pins and sockets
# of the lab's instances, and the directory. Safe to run twice.
trap '' INT TERM HUP QUIT PIPE
dir=$1
owner=$2
cat >/dev/null

namespaces() { cat "$dir/namespaces" 2>/dev/null; }

# Processes in the namespaces; never the owner, whose threads may still be leaving them.
inside() {
    for name in $(namespaces); do
        ip netns pids "$name" 2>/dev/null
    done | grep -vx -e "$owner" -e "$$"
}

for pid in $(inside); do kill -TERM "$pid" 2>/dev/null; done
tries=0
while [ -n "$(inside)" ] && [ "$tries" -lt 30 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
for pid in $(inside); do kill -KILL "$pid" 2>/dev/null; done

for name in $(cat "$dir/instances" 2>/dev/null); do
    rm -rf "/sys/fs/bpf/vnet-gw/$name" "/run/vnet-gw/$name.sock" "/run/vnet-gw/$name.lock" \
        "/run/vnet-gw/$name.api.sock" "/run/vnet-gw/$name.ca.pem" "/run/vnet-gw/$name.keys" \
        "/var/lib/vnet-gw/$name"
done
for name in $(namespaces); do
    if [ -e "/run/netns/$name" ]; then ip netns del "$name"; fi
done
rm -rf "$dir"

# The last one out removes the empty directories.
if rmdir "$(dirname "$dir")" 2>/dev/null; then
    rmdir /sys/fs/bpf/vnet-gw /run/vnet-gw /var/lib/vnet-gw 2>/dev/null
fi
exit 0
