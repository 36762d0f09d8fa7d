#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes the images of this folder in the current directory; see PROVENANCE.md.
# A tool that fails leaves no image and is reported.
U=01234567-89ab-4cde-8f01-23456789abcd
mk() { # name size command...
	name=$1 size=$2; shift 2
	rm -f "$name.img"; truncate -s "$size" "$name.img"
	if out=$("$@" 2>&1); then echo "$*" | tr "\\n" " " > "$name.cmd"; else echo "FAILED $name: $out" | head -5; rm -f "$name.img"; fi
}
stdin() { text=$1; shift; printf '%b' "$text" | "$@"; }
mk ext2 1M mke2fs -q -t ext2 -L label2 -U $U ext2.img
mk ext3 4M mke2fs -q -t ext3 -L label3 -U $U ext3.img
mk ext4 4M mke2fs -q -t ext4 -L label4 -U $U ext4.img
mk ext4-1k 600K mke2fs -q -t ext4 -b 1024 -O ^metadata_csum,^64bit -U $U ext4-1k.img
mk jbd 4M mke2fs -q -O journal_dev -b 4096 -L extlog -U $U jbd.img
mk xfs 300M mkfs.xfs -q -L xfslabel -m uuid=$U xfs.img
mk btrfs 128M mkfs.btrfs -q -L btrfslabel -U $U btrfs.img
mk f2fs 64M mkfs.f2fs -q -l f2fslabel -U $U f2fs.img
mk fat12 1440K mkfs.fat -F 12 -n FATLABEL -i 1234ABCD fat12.img
mk fat16 16M mkfs.fat -F 16 -n FATLABEL -i 1234ABCD fat16.img
mk fat32 40M mkfs.fat -F 32 -n FATLABEL -i 1234ABCD fat32.img
mk fat32-4k 300M mkfs.fat -F 32 -S 4096 -n FATLABEL -i 1234ABCD fat32-4k.img
mk exfat 16M mkfs.exfat -L exfatlabel exfat.img
mk ntfs 8M mkntfs -q -F -f -L ntfslabel ntfs.img
mkdir -p tree && echo hello > tree/file
mk squashfs 0 mksquashfs tree squashfs.img -noappend -quiet -no-progress -no-xattrs
mk erofs 0 mkfs.erofs -U $U erofs.img tree
mk nilfs2 136M mkfs.nilfs2 -q -L nilfslabel nilfs2.img
mk gfs2 64M mkfs.gfs2 -q -O -p lock_dlm -t cluster:gfs -j 1 -J 8 -U $U gfs2.img
mk ocfs2 64M mkfs.ocfs2 -q -F -x -M local --fs-features=local -L ocfslabel -U $(echo $U | tr -d -) ocfs2.img
mk jfs 16M mkfs.jfs -q -L jfslabel jfs.img
mk reiserfs 40M mkfs.reiserfs -q -f -f -l reiserlabel -u $U reiserfs.img
mk udf 4M mkudffs --label=udflabel --uuid=0123456789abcdef udf.img
mk udf-512 4M mkudffs -b 512 --media-type=hd --label=udf512 --uuid=fedcba9876543210 udf-512.img
mk iso 0 genisoimage -quiet -V ISOLABEL -o iso.img tree
mk iso-joliet 0 genisoimage -quiet -J -V "A Long Joliet Label 123" -o iso-joliet.img tree
mk iso-udf 0 genisoimage -quiet -udf -V BRIDGE -o iso-udf.img tree
mk iso-hfs 0 genisoimage -quiet -hfs -part -V HYBRID -o iso-hfs.img tree
mk hfs 2M hformat -l hfslabel hfs.img
mk minix1 1M mkfs.minix -1 minix1.img
mk minix2 1M mkfs.minix -2 minix2.img
mk minix3 1M mkfs.minix -3 minix3.img
mk cramfs 0 mkfs.cramfs -n cramlabel tree cramfs.img
mk bfs 1M mkfs.bfs -V vol -F fs bfs.img
mk swap4k 1M mkswap -p 4096 -L swaplabel -U $U swap4k.img
mk swap64k 1M mkswap -p 65536 -L swap64 -U $U swap64k.img
mk luks1 4M stdin password cryptsetup -q luksFormat --type luks1 --uuid $U --pbkdf-force-iterations 1000 luks1.img -
mk luks2 20M stdin password cryptsetup -q luksFormat --type luks2 --label lukslabel --uuid $U --pbkdf pbkdf2 --pbkdf-force-iterations 1000 luks2.img -
cp luks2.img luks2-second.img && dd if=/dev/zero of=luks2-second.img bs=4096 count=1 conv=notrunc status=none && echo "luks2 with the first 4 KiB zeroed" > luks2-second.cmd
truncate -s 64K data.bin
mk verity 1M veritysetup format --uuid=$U data.bin verity.img
mk bcache-cdev 80M make-bcache -C --cset-uuid $U bcache-cdev.img
mk bcache-bdev 8M make-bcache -B --cset-uuid $U bcache-bdev.img
printf '<superblock uuid="" time="0" transaction="0" flags="0" version="2" data_block_size="128" nr_data_blocks="16"></superblock>' > thin.xml
mk thin 4M thin_restore -q -i thin.xml -o thin.img
printf '<superblock uuid="" block_size="128" nr_cache_blocks="16" policy="smq" hint_width="4"><mappings></mappings><hints></hints></superblock>' > cache.xml
mk cache 4M cache_restore -q -i cache.xml -o cache.img
printf '<superblock uuid="" block_size="128" nr_blocks="16" current_era="1"><era_array></era_array></superblock>' > era.xml
mk era 4M era_restore -q -i era.xml -o era.img
mk gpt 4M sgdisk -U $U -n 1:2048:4095 gpt.img
mk gpt-nobackup 4M sgdisk -U $U -n 1:2048:4095 gpt-nobackup.img && dd if=/dev/zero of=gpt-nobackup.img bs=512 seek=8191 count=1 conv=notrunc status=none
mk gpt-noprimary 4M sgdisk -U $U -n 1:2048:4095 gpt-noprimary.img && dd if=/dev/zero of=gpt-noprimary.img bs=512 seek=1 count=1 conv=notrunc status=none
mk dos 4M stdin 'label: dos\nlabel-id: 0x1234abcd\nstart=64, size=1024, type=83\n' sfdisk -q dos.img
mk dos-empty 4M stdin 'label: dos\nlabel-id: 0x1234abcd\n' sfdisk -q dos-empty.img
mk sun 16M stdin 'label: sun\n' sfdisk -q sun.img
mk sgi 16M stdin 'label: sgi\n' sfdisk -q sgi.img
mk bsd 16M parted -s bsd.img mklabel bsd mkpart 2048s 4096s
mk mac 16M parted -s mac.img mklabel mac
mk atari 16M parted -s atari.img mklabel atari mkpart primary 2048s 8191s
mk amiga 16M parted -s amiga.img mklabel amiga
mk loop 4M parted -s loop.img mklabel loop
mk dos-ext4 4M mke2fs -q -t ext4 -U $U dos-ext4.img
stdin 'label: dos\nlabel-id: 0x1234abcd\n' sfdisk -q dos-ext4.img && echo "mke2fs -t ext4, then sfdisk, label: dos" > dos-ext4.cmd
# Key material does not belong into a repository, and Probe does not read it.
dd if=/dev/zero of=luks1.img bs=4096 seek=1 count=1023 conv=notrunc status=none
for i in luks2 luks2-second; do dd if=/dev/zero of=$i.img bs=4096 seek=8 count=5112 conv=notrunc status=none; done
