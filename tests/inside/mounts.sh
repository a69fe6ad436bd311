# Which mounts a pod sees: target, type, and the options that protect something. Run as root in a pod.
while read -r _ target type options _; do
	protects=
	for option in ro nosuid nodev noexec; do
		case ,$options, in *,$option,*) protects="$protects $option" ;; esac
	done
	echo "$target $type$protects"
done </proc/self/mounts
