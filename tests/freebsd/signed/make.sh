#!/bin/sh
# Makes the files beside this: an image, keys, and signatures of the image by them, for hosts without GnuPG. Those in the sources
# were made by it, with GnuPG 2.2; there is no need to make them again, and the secret keys were thrown away.
#
#   app.tar.gz         an image called example.com/app
#   rsa, ed25519, subkey, nistp256: NAME.key is a key, NAME.asc a good signature by it
#   expired, revoked   the same with keys that are so
#   other, sha1, text  signatures by the key ed25519 of something else, with SHA-1, and of a text
set -eu
umask 022
cd "$(dirname "$0")"
GNUPGHOME=$(mktemp -d /tmp/jetpack-signed.XXXXXX)
export GNUPGHOME
trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT

quietly() {
	gpg --batch --yes --quiet --pinentry-mode loopback --passphrase '' "$@"
}

fingerprint() {
	quietly --with-colons --list-keys "$1@example.com" | awk -F: '$1 == "fpr" { print $10; exit }'
}

sign() { # NAME FILE.asc [OPTION…]
	name=$1 signature=$2
	shift 2
	quietly --armor --local-user "$name@example.com" "$@" --output "$signature" --detach-sign app.tar.gz
}

work=$GNUPGHOME/image
mkdir -p "$work/rootfs/etc"
echo '{ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/app" }' >"$work/manifest"
echo signed >"$work/rootfs/etc/app"
tar -C "$work" --owner=0 --group=0 --numeric-owner --mtime=@0 --sort=name -cf - manifest rootfs | gzip -9n >app.tar.gz

for name in rsa ed25519 nistp256 revoked; do
	case $name in rsa) algorithm=rsa2048 ;; revoked) algorithm=ed25519 ;; *) algorithm=$name ;; esac
	quietly --quick-generate-key "$name <$name@example.com>" "$algorithm" sign 0
	sign "$name" "$name.asc"
done
quietly --quick-generate-key 'subkey <subkey@example.com>' ed25519 cert 0
quietly --quick-add-key "$(fingerprint subkey)" ed25519 sign 0
sign subkey subkey.asc
quietly --faked-system-time 20240101T000000 --quick-generate-key 'expired <expired@example.com>' ed25519 sign 2024-06-01
sign expired expired.asc --faked-system-time 20240201T000000
revocation=$GNUPGHOME/openpgp-revocs.d/$(fingerprint revoked).rev
sed 's/^:-----BEGIN/-----BEGIN/' "$revocation" >"$work/revocation"
quietly --import "$work/revocation"
sign ed25519 sha1.asc --digest-algo SHA1
sign ed25519 text.asc --textmode
echo else >"$work/else"
quietly --armor --local-user ed25519@example.com --output other.asc --detach-sign "$work/else"
for name in rsa ed25519 nistp256 subkey expired revoked; do
	quietly --armor --export "$name@example.com" >"$name.key"
done
