# shellcheck shell=sh disable=SC2154 # run.sh, which reads this, sets what is not set here
# Jails: their parameters, addresses and rulesets. Read by run.sh.

jail_checks() {
	check 'parameters of a jail' jail_parameters
	check 'parameters of the configuration' jail_configuration
	check 'parameters that cannot be' jail_bad_parameters
	check 'a devfs ruleset of the pod'\''s own' jail_ruleset
	check 'addresses of the host'\''s' jail_addresses
	check 'nothing of the host'\''s in the agent' jail_agent
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
	expect 'devices' "$said" null
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
