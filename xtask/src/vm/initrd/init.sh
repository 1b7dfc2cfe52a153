#!/bin/sh
# Process 1 until the root file system is there.

give_up() {
    # By way of the kernel, because it shows it on every console.
    echo "<0>initrd: $1" > /dev/kmsg
    sleep 1
    poweroff -f
}

# Tries the arguments as a command until they succeed, for 20 seconds.
wait_for() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || return 1
        sleep 0.1
    done
}

disk() {
    wait_for [ -b /dev/vda ] || give_up "there is no disk"
    mount -t ext4 -o rw,noatime /dev/vda /root || give_up "the disk cannot be mounted"
}

find_medium() {
    for device in /dev/sr* /dev/vd* /dev/sd* /dev/nvme*n*; do
        [ -b "$device" ] || continue
        mount -t iso9660 -o ro "$device" /medium 2> /dev/null || continue
        [ ! -f /medium/live/root.erofs ] || return 0
        umount /medium
    done
    return 1
}

medium() {
    wait_for find_medium || give_up "the medium that this was started from is not found"
    mount -t erofs -o ro,loop /medium/live/root.erofs /lower || give_up "the medium cannot be read"
    mount -t tmpfs -o mode=755,size=75% none /upper || give_up "there is no memory"
    mkdir /upper/changes /upper/work
    mount -t overlay -o lowerdir=/lower,upperdir=/upper/changes,workdir=/upper/work none /root ||
        give_up "what is read cannot be changed"
}

mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
for module in /modules/*.ko; do
    # Some fit only some processors.
    insmod "$module" 2> /dev/null || echo "<6>initrd: not loaded: $module" > /dev/kmsg
done
case " $(cat /proc/cmdline) " in
    *" agentos.medium "*) medium ;;
    *) disk ;;
esac
mount --move /dev /root/dev
umount /proc /sys
exec switch_root /root /sbin/init
