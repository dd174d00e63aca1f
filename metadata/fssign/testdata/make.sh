#!/bin/bash
# Makes the superblocks beside this file with the filesystems' own tools. Each file holds
# 8 KiB from the start of a superblock on, at most to the end of the volume; its name tells
# the place: NAME@OFFSET.bin.
set -e
cd "$(dirname "$0")"
t=$(mktemp); trap 'rm -f $t' EXIT
id=11111111-2222-3333-4444-555555555555
new() { rm -f $t; truncate -s $1 $t; }
cut() { for at in "${@:2}"; do dd if=$t of=$1@$at.bin bs=512 skip=$((at / 512)) count=16 status=none; done; }
new 40M; mkfs.ext2 -q -b 1024 -U $id -L two $t; cut ext2 1024 $((8193 * 1024)) $((24577 * 1024))
new 20M; mkfs.ext3 -q -b 2048 -U $id $t; cut ext3 1024
new 300M; mkfs.ext4 -q -b 4096 -U $id -L "four four" $t; cut ext4 1024 $((32768 * 4096))
new 320M; mkfs.xfs -q -m uuid=$id -L ex $t; ag=$((320 * 1024 * 1024 / 4)); cut xfs 0 $ag $((3 * ag))
new 300M; mkfs.btrfs -q -U $id -L butter $t; cut btrfs $((64 << 10)) $((64 << 20))
new 64M; mkfs.gfs2 -q -O -p lock_nolock -J 8 -t cluster:name -U $id $t > /dev/null; cut gfs2 $((64 << 10))
new 3M; mkswap -q -U $id -L pages $t; cut swap 0
new 40M; mkfs.vfat -F 32 -i 12345678 -n FATTY $t > /dev/null; cut fat32 0
new 16M; mkfs.vfat -F 16 -i 12345678 $t > /dev/null; cut fat16 0
new 8M; mkfs.exfat $t > /dev/null; cut exfat 0
new 8M; mkfs.ntfs -F -Q -q -L ent $t > /dev/null 2>&1; cut ntfs 0
new 16M; echo x | cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 --uuid $id $t -; cut luks1 0
new 20M; echo x | cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --label lucky --uuid $id $t -; cut luks2 0 16384
