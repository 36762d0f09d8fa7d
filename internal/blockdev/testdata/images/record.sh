#!/bin/sh
# SPDX-License-Identifier: MIT
# Records what util-linux says about each image here: name.expect.
for i in *.img; do n=${i%.img}
	{ echo "# $(cat $n.cmd)"; echo "\$ blkid -p -o export"; blkid -p -o export $i 2>&1 | grep -v ^DEVNAME | sed "s/$i: //"
	echo "\$ wipefs -n"; wipefs -n -O OFFSET,LENGTH,TYPE,UUID,LABEL -J $i 2>/dev/null; } > $n.expect
done
