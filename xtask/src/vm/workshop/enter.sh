#!/bin/sh
# enter.sh ROOT [FOLDER]... -- PROGRAM [ARGUMENT]...
# Runs a program of the Debian in ROOT, in a root of its own in memory that has the parts of that Debian, a few devices
# and the FOLDERs at their own paths. To be run in a mount namespace that ends with it.
set -e
root=$1
new=$root/mnt
shift
mount -t tmpfs -o mode=755 none "$new"
for part in usr etc var; do
    mkdir "$new/$part"
    mount --bind "$root/$part" "$new/$part"
done
for part in bin lib lib32 lib64 sbin; do
    [ ! -L "$root/$part" ] || cp -P "$root/$part" "$new/$part"
done
mkdir "$new/proc" "$new/sys" "$new/dev" "$new/run" "$new/root"
mkdir -m 1777 "$new/tmp"
mount --rbind /proc "$new/proc"
for device in null zero full random urandom kvm; do
    [ -e "/dev/$device" ] || continue
    touch "$new/dev/$device"
    mount --bind "/dev/$device" "$new/dev/$device"
done
while [ "$1" != -- ]; do
    mkdir -p "$new$1"
    mount --rbind "$1" "$new$1"
    shift
done
shift
exec chroot "$new" "$@"
