#!/bin/sh
# SPDX-License-Identifier: MIT
# Lays recorded pieces of other packages' fixtures ($F) out as images.
piece() { # name size end|start file
	rm -f $1.img; truncate -s $2 $1.img
	case $4 in *.gz) zcat $4 ;; *.hex) xxd -r -p $4 ;; esac > piece.bin
	seek=0; [ $3 = end ] && seek=$(( ($(stat -c %s $1.img) - $(stat -c %s piece.bin)) / 512 ))
	dd if=piece.bin of=$1.img bs=512 seek=$seek conv=notrunc status=none
	echo "$(basename $4) at the $3 of $2" > $1.cmd
}
piece drbd84-internal 16M start $F/drbd/metadata/v08-int-16m.img.gz
piece drbd84-odd 16383K start $F/drbd/metadata/v08-int-16383k.img.gz
piece drbd84-unclean $(( $(zcat $F/drbd/metadata/al-crashed.img.gz | wc -c) )) start $F/drbd/metadata/al-crashed.img.gz
piece drbd84-flex 1M start $F/drbd/metadata/v08-flex-1m.img.gz
piece drbd84-idx0 128M start $F/drbd/metadata/v08-idx0-128m.head64k.gz
piece drbd84-wiped 16M start $F/drbd/metadata/v08-int-16m.wiped.img.gz
piece drbd9-internal 16M end $F/drbd/metadata/v09-int-16m.tail64k.gz
piece drbd9-flex 128M start $F/drbd/metadata/v09-flex-128m-7p.head64k.gz
piece lvm2-pv 32M start $F/lvm/pv/two-pv-base.pv0.head1M.gz
piece lvm2-nomda 32M start $F/lvm/pv/nomda.pv.head8K.gz
piece lvm2-snapshot 4M start $F/lvm/pv/snapshot-cow.head8K.gz
piece dmraid-raid1 4M start $F/dmraid/sb/basic-meta-raid1-super.hex
