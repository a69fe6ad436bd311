#!/bin/sh
# shellcheck shell=sh disable=SC2154 # run.sh, which reads this, sets what is not set here
# Jails: their parameters, addresses and rulesets, what ends them, and those that die slowly. Read by run.sh.

jail_checks() {
	check 'parameters of a jail' jail_parameters
	check 'parameters of the configuration' jail_configuration
	check 'parameters that cannot be' jail_bad_parameters
	check 'a devfs ruleset of the pod'\''s own' jail_ruleset
	check 'addresses of the host'\''s' jail_addresses
	check 'nothing of the host'\''s in the agent' jail_agent
	check 'a jail dies with its owner' jail_owner
	check 'orphans are reaped where jails have no owner' jail_without_owner
	check 'a jail that dies slowly' jail_dying --readonly-rootfs
}

# Runs a pod that waits, of these options: its UUID is in $pod, its runner's number in $runner.
start_jail() {
	pod=$(jetpack prepare "$@" busybox-base -- sh -c 'echo ready; while :; do sleep 0.1; done')
	jetpack run "$pod" >"$work/out" &
	runner=$!
	wait_for 20 grep -q ready "$work/out"
}

# What jls(8) says of the pod's jail.
jail_has() {
	jls -j "jetpack/$pod" "$@"
}

jail_parameters() {
	start_jail
	expect 'of every pod' \
		"$(jail_has host.hostname host.hostuuid enforce_statfs devfs_ruleset securelevel children.max persist)" \
		"$pod $pod 2 4 2 0 true"
	expect 'nothing shared' "$(jail_has ip4 ip6 sysvmsg sysvsem sysvshm host vnet)" 'disable disable new new new new inherit'
	expect 'root' "$(jail_has path)" "$(realpath "$store/pods/$pod/apps/busybox-base/root" 2>/dev/null || jail_has path)"
	stop_waiting
	start_jail -a hostname=box.example.com -a jetpack/jail.conf/allow.raw-sockets=true -a jetpack/jail.conf/allow.set-hostname=false \
		-a jetpack/jail.conf/children.max=2 -a jetpack/jail.conf/enforce-statfs=1 -a jetpack/jail.conf/securelevel=1 \
		-a jetpack/jail.conf/osrelease=13.9-RELEASE -a jetpack/jail.conf/host.domainname=example.com -a jetpack/jail.conf/sysvshm=inherit \
		-a jetpack/jail.conf/host.hostid=4000000000
	expect 'asked for' \
		"$(jail_has host.hostname allow.raw_sockets allow.set_hostname children.max enforce_statfs securelevel osrelease sysvshm)" \
		'box.example.com true false 2 1 1 13.9-RELEASE inherit'
	expect 'inside' "$(jetpack exec "$pod" sh -c 'hostname; sysctl -n kern.hostuuid kern.osrelease kern.securelevel kern.domainname \
		security.jail.jailed security.jail.allow_raw_sockets kern.hostid')" \
		"$(printf '%s\n' box.example.com "$pod" 13.9-RELEASE 1 example.com 1 1 4000000000)"
	expect 'set-hostname' "$(jetpack exec "$pod" sh -c 'hostname other 2>/dev/null || echo refused; hostname')" \
		"$(printf 'refused\nbox.example.com')"
	stop_waiting
}

# False switches off, whatever the default is; the annotation goes over the configuration, and an image has no say.
jail_configuration() {
	pod=$(jetpack prepare -a jetpack/jail.conf/allow.raw-sockets=off busybox-base -- sh -c 'echo ready; while :; do sleep 0.1; done')
	jetpack -o ace.jailConf.allow.raw_sockets=on -o ace.jailConf.allow.chflags=false -o ace.jailConf.allow.reserved_ports=false \
		-o ace.jailConf.securelevel= run "$pod" >"$work/out" &
	runner=$!
	wait_for 20 grep -q ready "$work/out"
	expect 'switched off' "$(jail_has allow.raw_sockets allow.chflags allow.reserved_ports securelevel)" 'false false false -1'
	stop_waiting
	mkdir -p "$work/annotated/bin"
	cp /rescue/sh "$work/annotated/bin/sh"
	cat >"$work/manifest" <<-'END'
		{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "annotated", "annotations": [
		{"name": "jetpack/jail.conf/securelevel", "value": "0"}, {"name": "jetpack/jail.conf/exec.start", "value": "x"},
		{"name": "jetpack/devfs-ruleset", "value": "999"}, {"name": "hostname", "value": "image"}]}
	END
	sh "$here/images/makeaci.sh" -c none "$work/manifest" "$work/annotated" "$work/annotated.aci"
	jetpack --insecure-options image import "$work/annotated.aci"
	jetpack run annotated -- /bin/sh -c 'echo ready; while :; do :; done' >"$work/out" &
	runner=$!
	wait_for 20 grep -q ready "$work/out"
	pod=$(jetpack -q list)
	expect 'of the image' "$(jail_has securelevel devfs_ruleset host.hostname)" "2 4 $pod"
	stop_waiting
	jetpack destroy-image annotated
}

# refused TEXT COMMAND…: fails with that text and a line of help, and leaves nothing.
refused() {
	text=$1
	shift
	expect "code of $*" "$(code_of "$@" 2>"$work/err")" 125
	cat "$work/err"
	grep -qF -- "$text" "$work/err"
	grep -q 'help: ' "$work/err"
	expect 'leftovers' "$(leftovers)" ''
}

jail_bad_parameters() {
	for given in 'allow.nosuch=true|is for no parameter' 'nosuch=1|is for no parameter' 'allow=1|is for no parameter' \
		'securelevel=high|whole number' 'securelevel=2147483648|whole number' 'allow.raw-sockets=maybe|true or false' \
		'allow.raw-sockets=|true or false' 'sysvshm=true|disable, new or inherit' 'dying=true|left to the kernel' \
		'exec.start=/bin/sh|a command of jail(8)' 'mount.fstab=/etc/fstab|a mount of jail(8)' 'path=/|where the jail stands' \
		'persist=false|how long the jail lives' 'host.hostuuid=1|the pod'\''s UUID' 'name=x|how the jail is known' \
		'ip4.addr=127.0.0.1|ip-address' 'devfs-ruleset=0|jetpack/devfs-ruleset' 'vnet=new|--net'; do
		refused "${given#*|}" jetpack prepare -a "jetpack/jail.conf/${given%%|*}" busybox-base --exec true
		grep -qF "the annotation jetpack/jail.conf/${given%%=*}" "$work/err"
	done
	for given in 'nosuch=1|is for no parameter' 'persist=true|how long'; do
		refused "${given#*|}" jetpack -o "ace.jailConf.${given%%|*}" run --destroy busybox-base --exec true
		grep -qF "ace.jailConf.${given%%=*}" "$work/err"
	done
	# The kernel's own limits.
	expect 'children.max' "$(code_of jetpack run --destroy -a jetpack/jail.conf/children.max=2000000 busybox-base --exec true 2>"$work/err")" 125
	grep -q 'children.max' "$work/err"
	expect 'leftovers' "$(leftovers)" ''
}

jail_ruleset() {
	refused 'the devfs ruleset 777 has no rules' jetpack run -a jetpack/devfs-ruleset=777 busybox-base --exec true
	refused 'the annotation jetpack/devfs-ruleset is "0"' jetpack run -a jetpack/devfs-ruleset=0 busybox-base --exec true
	trap 'devfs rule -s 777 delset' EXIT
	devfs rule -s 777 add hide
	devfs rule -s 777 add path null unhide
	start_jail -a jetpack/devfs-ruleset=777
	expect 'ruleset' "$(jail_has devfs_ruleset)" 777
	said=$(jetpack exec "$pod" ls /dev)
	stop_waiting
	# The directory of fdescfs(4) is there in any case.
	expect 'devices' "$said" "$(printf 'fd\nnull')"
}

jail_addresses() {
	refused 'this host does not have the pod'\''s address 127.0.0.77' jetpack run -a ip-address=127.0.0.77 busybox-base --exec true
	refused 'the annotation ip-address is "127.0.0.77/8"' jetpack run -a ip-address=127.0.0.77/8 busybox-base --exec true
	trap 'for address in 127.0.0.77 127.0.0.78; do ifconfig lo0 inet "$address" -alias; done' EXIT
	ifconfig lo0 inet 127.0.0.77/32 alias
	ifconfig lo0 inet 127.0.0.78/32 alias
	for net in none host; do
		start_jail --net "$net" -a ip-address=127.0.0.77
		expect 'addresses' "$(jail_has ip4.addr ip6)" '127.0.0.77 disable'
		expect 'inside' "$(jetpack exec "$pod" ifconfig -a | awk '$1 ~ /^inet/ { print $2 }')" 127.0.0.77
		stop_waiting
	done
	start_jail -a 'ip-address=127.0.0.78, ::1,127.0.0.77'
	expect 'addresses' "$(jail_has ip4.addr ip6.addr)" '127.0.0.78,127.0.0.77 ::1'
	stop_waiting
	start_jail --net host
	expect 'the host'\''s' "$(jail_has ip4 ip6)" 'inherit inherit'
	stop_waiting
}

# The agent's environment and descriptors, and the app's, seen from the host.
jail_agent() {
	command -v procstat >/dev/null || skip 'procstat(1) is missing'
	exec 7</etc
	A_SECRET=x start_jail
	exec 7<&-
	agent=$(pgrep -S -j "$(jail_has jid)" -f 'jetpack agent')
	procstat fd "$agent"
	expect 'environment' "$(procstat -h -e "$agent" 2>/dev/null | awk '{ $1 = $2 = ""; print }' | tr -d ' -')" ''
	# Files that the host has: the null device and the pod's lock. No directories but the root and the current one.
	expect 'files' "$(procstat -h fd "$agent" | awk '$3 ~ /^[0-9]+$/ && $4 == "v" && $6 !~ /l$/ && $NF != "/dev/null"')" ''
	expect 'jails' "$(procstat -h fd "$agent" | awk '$4 == "j"')" ''
	expect 'directories' "$(procstat -h fd "$agent" | awk '$3 == "cwd" || $3 == "root" || $3 == "jail" { print $NF }' | sort -u)" "$(jail_has path)"
	for process in $(pgrep -j "$(jail_has jid)" sh); do
		expect 'descriptors' "$(procstat -h fd "$process" | awk '$3 ~ /^[0-9]+$/ && $3 > 2')" ''
		if procstat -h -e "$process" | grep A_SECRET; then return 1; fi
	done
	stop_waiting
}

# Kills agent and runner, none of which can clean up after the other.
kill_both() {
	kill -STOP "$runner"
	kill -KILL "$(pgrep -S -j "$(jail_has jid)" -f 'jetpack agent')"
	kill -KILL "$runner"
	wait "$runner" || true
}

jail_gone() {
	! jls -j "jetpack/$pod" jid 2>/dev/null
}

# Nobody has to come by: the kernel removes the jail when runner and agent are killed at once.
jail_owner() {
	[ "$(sysctl -n kern.osreldate)" -ge 1500000 ] || skip 'jails have no owners before FreeBSD 15'
	start_jail
	app=$(pgrep -o -j "$(jail_has jid)" sh)
	kill_both
	wait_for 20 jail_gone
	if kill -0 "$app"; then return 1; fi
	mount -p | grep -q "$pod"
	wait_for 20 is_exited "$pod"
	expect 'mounts' "$(mount -p | grep "$pod" || true)" ''
	jetpack destroy "$pod"
	# The agent alone: the runner is left to clean up.
	start_jail
	kill -KILL "$(pgrep -S -j "$(jail_has jid)" -f 'jetpack agent')"
	code=0
	wait "$runner" || code=$?
	expect 'exit code of the pod' "$code" 137
	expect 'jails and mounts' "$(jls -N name | grep '^jetpack/' || true)$(mount -p | grep "$pod" || true)" ''
	jetpack destroy "$pod"
	expect 'leftovers' "$(leftovers)" ''
}

# As on a kernel without jail descriptors, FreeBSD 14.
jail_without_owner() {
	JETPACK_TEST_JAIL_OWNER=none
	export JETPACK_TEST_JAIL_OWNER
	start_jail
	kill_both
	sleep 1
	if jail_gone; then return 1; fi
	wait_for 20 is_exited "$pod"
	jail_gone
	expect 'mounts' "$(mount -p | grep "$pod" || true)" ''
	jetpack destroy "$pod"
	start_jail
	stop_waiting
}

dying_jails() {
	jls -d -n name dying 2>/dev/null | grep -c "^name=jetpack/$pod dying"
}

# A connection that the other end does not read keeps the jail dying. Neither the pod's next run nor its end minds.
jail_dying() {
	command -v nc >/dev/null || skip 'nc(1) is missing'
	nc -l 127.0.0.1 9977 >/dev/null &
	reader=$!
	trap 'kill -KILL "$reader" 2>/dev/null || true' EXIT
	wait_for 20 sh -c 'netstat -an -p tcp | grep -q "127.0.0.1.9977.*LISTEN"'
	kill -STOP "$reader"
	pod=$("${on:-jetpack}" -q prepare --net host busybox-base "$@" -- \
		sh -c 'nc 127.0.0.1 9977 </bin/sh & sleep 2')
	code=$(code_of "${on:-jetpack}" run "$pod" 2>"$work/err")
	cat "$work/err"
	expect 'dying' "$(dying_jails)" 1
	expect 'exit code' "$code" 0
	grep -q "the jail jetpack/$pod is dying (jid [0-9]*): nothing runs in it" "$work/err"
	expect 'jails' "$(jls -N name | grep '^jetpack/' || true)" ''
	expect 'mounts' "$(mount -p | grep "$pod" | grep -v zfs || true)" ''
	expect 'beside it' "$("${on:-jetpack}" exec "$pod" echo works 2>/dev/null)" works
	expect 'still dying' "$(dying_jails)" 1
	"${on:-jetpack}" destroy "$pod"
	expect 'mounts' "$(mount -p | grep "$pod" || true)" ''
	kill -CONT "$reader"
	wait_for 20 sh -c "! jls -d name | grep -q '$pod'"
	wait "$reader" || true
}

jail_dying_on_zfs() {
	need_pool
	on_zfs import "$work/base.aci"
	on=on_zfs
	jail_dying
	jail_dying --readonly-rootfs
	on_zfs destroy-image busybox-base
	expect 'datasets' "$(datasets)" ''
}
