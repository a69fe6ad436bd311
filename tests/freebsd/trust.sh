#!/bin/sh
# Part of run.sh: images that are signed. The keys and signatures were made beforehand, by signed/make.sh.
# shellcheck disable=SC2154 # here, programs and work are run.sh's

# A store and keys beside the others.
trusting() {
	"$programs/jetpack" --config "$work/trusting/jetpack.conf" -o root.zfs= -o storage=dir -o "root.path=$work/trusting/store" "$@"
}

# Trusts a key for images of a name: trust_key NAME PREFIX
trust_key() {
	fingerprint=$(trusting trust --prefix "$2" "$here/tests/freebsd/signed/$1.key" 2>&1 </dev/null | sed -n 's/^key  *//p')
	trusting trust --prefix "$2" --fingerprint "$fingerprint" "$here/tests/freebsd/signed/$1.key"
}

signed_images() {
	mkdir -p "$work/trusting"
	: >"$work/trusting/jetpack.conf"
	trusting init
	image=$here/tests/freebsd/signed/app.tar.gz
	for name in rsa ed25519 nistp256 subkey; do
		signature=${image%/*}/$name.asc
		expect "$name, not trusted" "$(code_of trusting import --sig "$signature" "$image")" 125
		trust_key "$name" example.com/app
		trusting import --sig "$signature" "$image"
		trusting show-image example.com/app | grep "^signature  *by $name <$name@example.com> (key $fingerprint)"
		trusting export example.com/app "$work/trusting/app.aci"
		cmp "$work/trusting/app.aci" "$image"
		cmp "$work/trusting/app.aci.asc" "$signature"
		trusting destroy-image example.com/app
		trusting untrust "$fingerprint"
	done
	expect 'keys' "$(trusting trust -H)" ''
}

bad_signatures() {
	image=$here/tests/freebsd/signed/app.tar.gz
	trust_key ed25519 example.com
	for case in 'other:other data' 'sha1:SHA1' 'text:signature of a file' 'rsa:is not trusted'; do
		said=$(trusting import --sig "${image%/*}/${case%%:*}.asc" "$image" 2>&1) && return 1
		echo "$said" | grep -F "${case#*:}"
	done
	for case in 'expired:it expired on 2024-06-01' 'revoked:it was revoked'; do
		said=$(trust_key "${case%%:*}" example.com 2>&1) && return 1
		echo "$said" | grep -F "${case#*:}"
	done
	trusting untrust "$fingerprint"
	trust_key ed25519 example.com/ap
	said=$(trusting import --sig "${image%/*}/ed25519.asc" "$image" 2>&1) && return 1
	echo "$said" | grep -F 'does not count for example.com/app'
	expect 'images' "$(trusting -q images)" ''
	chmod g+w "$work/trusting/jetpack/trustedkeys"
	trusting trust 2>&1 | grep -F 'others than its owner can write it'
}
