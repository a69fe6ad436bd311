# What of /proc and /sys tells about the host or would change it. Prints only what is wrong. Run as root in a pod.
for path in /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sys/kernel/core_pattern /proc/sys/net/ipv4/ip_forward \
	/proc/sysrq-trigger /proc/irq/default_smp_affinity /proc/bus/input/handlers /sys/kernel/uevent_helper \
	/sys/kernel/mm/transparent_hugepage/enabled /sys/power/state; do
	if [ -e $path ] && (: >>$path) 2>/dev/null; then echo "$path can be opened for writing"; fi
done
for path in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/interrupts /proc/latency_stats; do
	[ ! -e $path ] || [ "$(head -c 1 $path | wc -c)" = 0 ] || echo "$path is not empty"
done
for path in /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/devices/virtual/powercap; do
	[ ! -e $path ] || [ -z "$(ls -A $path)" ] || echo "$path is not empty"
	(: >$path/x) 2>/dev/null && echo "$path can be written"
done
(: >/sys/x) 2>/dev/null && echo '/sys can be written'
for path in /proc /proc/sys /proc/kcore /sys /sys/firmware /dev; do
	umount $path 2>/dev/null && echo "$path can be taken off"
	mount -o remount,rw $path 2>/dev/null && echo "$path can be remounted"
done
mount -t tmpfs x /tmp 2>/dev/null && echo 'something can be mounted'
mount -t proc x /tmp 2>/dev/null && echo 'a fresh /proc can be mounted'
:
