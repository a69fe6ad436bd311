# Processes as the pod sees them. Run as root in a pod; OUTSIDE is the number of a process of the host's.
echo "pids" /proc/[0-9]*
[ -e "/proc/$OUTSIDE" ] && echo "sees $OUTSIDE"
kill -0 "$OUTSIDE" 2>/dev/null && echo "can signal $OUTSIDE"
kill -9 "$OUTSIDE" 2>/dev/null && echo "has killed $OUTSIDE"
kill -9 -1 2>/dev/null
kill -TERM 1
kill -KILL 1
kill -0 1 && echo 'the first process is alive'
# Orphans of an orphan: the first process gets them all.
for _ in 1 2 3; do
	sh -c '(sleep 0.1 && exit 3) & (true) & exit 0' &
done
wait
sleep 0.5
grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null && echo 'are zombies'
echo "hostname $(hostname)"
echo "cgroups $(cut -d: -f3 /proc/self/cgroup | sort -u | tr '\n' ' ')"
echo "interfaces $(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | tr '\n' ' ')"
echo "lo $(ip -o addr show lo | sed 's/.*inet6* \([^ ]*\).*/\1/' | tr '\n' ' ')"
ping -c 1 -W 2 127.0.0.1 >/dev/null && echo '127.0.0.1 answers'
(echo over tcp | nc -l -p 7777 >/dev/null) &
sleep 0.2
nc 127.0.0.1 7777 </dev/null
for kind in msg sem shm; do echo "$kind $(tail -n +2 /proc/sysvipc/$kind | wc -l)"; done
echo "queues $(ls /dev/mqueue | wc -l)"
