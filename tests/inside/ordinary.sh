# What programs do every day, behind the filter of system calls. Run as root in a pod; says what fails, and `done`.
cd /tmp || exit
check() { # NAME COMMAND…
	name=$1
	shift
	"$@" >/tmp/out 2>&1 || echo "$name: $(cat /tmp/out)"
}

# Processes, jobs and identities.
check ps ps
check su su nobody -s /bin/sh -c 'test "$(id -un)" = nobody'
check setpriv setpriv --nnp id
check chroot chroot / true
check taskset taskset 1 true
check timeout timeout 5 sleep 0
check setsid setsid true
check personality linux64 true
check priority renice 19 $$
check limits sh -c 'ulimit -c 0'
sleep 5 &
check 'jobs: kill' kill %1
wait
(sleep 0.1) | cat
check xargs sh -c 'seq 20 | xargs -P 4 -n 1 true'

# Files.
check files sh -c 'echo x >a && ln a b && ln -s a c && mv b d && cp -a c e && chmod 600 a && chown 1:1 a && touch -d 2001-02-03 a'
check devices sh -c 'mkfifo f && mknod n c 1 3 && stat f n'
check trees sh -c 'mkdir -p x/y && tar cf t.tar x && rm -r x && tar xf t.tar && find x && rmdir x/y x'
check space sh -c 'dd if=/dev/zero of=z bs=4k count=4 conv=fsync && truncate -s 100 z && fallocate -l 1000 z && sync && df .'
check sorting sh -c 'seq 100 | sort -R | gzip | gunzip | xz -dcf | wc -l'

# Time and what the system tells.
check time sh -c 'date && time usleep 1 && uptime && free && uname -a && nproc'

# Networks.
check addresses ip addr
check routes ip route
check ping ping -c 1 -W 2 127.0.0.1
mkdir -p www && echo page >www/index.html
check httpd httpd -p 127.0.0.1:8099 -h www
check wget sh -c 'test "$(wget -q -O - http://127.0.0.1:8099/)" = page'
check netstat netstat -ltn
check syslog sh -c 'syslogd -n & sleep 0.1; kill $!'
echo 'done'
