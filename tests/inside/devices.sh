# What /dev holds, and that nothing but it gives devices. Run as root in a pod.
cd /dev || exit
for name in *; do
	if [ -L "$name" ]; then
		echo "$name -> $(readlink "$name")"
	else
		stat -c '%n %F %t:%T %a' "$name"
	fi
done
for place in / /dev /tmp /dev/shm; do
	mknod "$place/my-null" c 1 3 || echo "cannot make a character device in $place"
	mknod "$place/my-disk" b 7 0 || echo "cannot make a block device in $place"
	for name in my-null my-disk; do
		if (: <"$place/$name") 2>/dev/null; then echo "$place/$name can be opened"; fi
		rm -f "$place/$name"
	done
done
echo lost >/dev/null && [ -z "$(cat /dev/null)" ] && echo null works
[ "$(head -c 3 /dev/zero | od -An -tx1)" = ' 00 00 00' ] && echo zero works
[ "$(head -c 8 /dev/urandom | wc -c)" = 8 ] && echo urandom works
[ "$(head -c 8 /dev/random | wc -c)" = 8 ] && echo random works
(echo full >/dev/full) 2>/dev/null || echo full works
(: </dev/tty) 2>/dev/null || echo no terminal
: </dev/ptmx && [ -c /dev/pts/ptmx ] && echo ptmx works
echo lost >/dev/console && [ -z "$(cat /dev/console)" ] && echo console swallows
echo shared >/dev/shm/x && [ "$(cat /dev/shm/x)" = shared ] && echo shm works
