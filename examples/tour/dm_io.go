// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/linuxblock/linuxblock/dm"
)

// blockSize suits disks of 512 and of 4096 bytes a block.
const blockSize = 4096

// aligned makes a buffer that starts at a multiple of the block size, as
// O_DIRECT wants.
func aligned(n int) []byte {
	b := make([]byte, n+blockSize)
	skip := -uintptr(unsafe.Pointer(&b[0])) % blockSize
	return b[skip : int(skip)+n : int(skip)+n]
}

// blocks is what must be on a device: of each block how often it was
// written. From that its content follows.
type blocks struct{ written []uint32 }

func newBlocks(size dm.Sectors) *blocks {
	return &blocks{make([]uint32, size.Bytes()/blockSize)}
}

// clone keeps the state of now.
func (b *blocks) clone() *blocks { return &blocks{append([]uint32(nil), b.written...)} }

// fill makes the content of a block: zeros when it was never written.
func (b *blocks) fill(p []byte, i int) {
	if b.written[i] == 0 {
		clear(p)
		return
	}
	seed := rand.NewPCG(uint64(i), uint64(b.written[i]))
	for j := 0; j < len(p); j += 8 {
		binary.LittleEndian.PutUint64(p[j:], seed.Uint64())
	}
}

// write writes a block anew.
func (b *blocks) write(dev blockDevice, p []byte, i int) error {
	b.written[i]++
	b.fill(p, i)
	_, err := dev.WriteAt(p, int64(i)*blockSize)
	return err
}

// check reads a block and compares; p holds two blocks.
func (b *blocks) check(dev blockDevice, p []byte, i int) error {
	got, want := p[:blockSize], p[blockSize:2*blockSize]
	if _, err := dev.ReadAt(got, int64(i)*blockSize); err != nil {
		return err
	}
	if b.fill(want, i); !bytes.Equal(got, want) {
		return mismatch("block %d is not what was written %d times", i, b.written[i])
	}
	return nil
}

func (b *blocks) checkAll(dev blockDevice) error {
	p := aligned(2 * blockSize)
	for i := range b.written {
		if err := b.check(dev, p, i); err != nil {
			return err
		}
	}
	return nil
}

func (c *dmChapter) write(context.Context) (string, error) {
	c.blocks = newBlocks(dataSize)
	p := aligned(blockSize)
	for i := range c.blocks.written {
		if err := c.blocks.write(c.io, p, i); err != nil {
			return "", err
		}
	}
	if err := c.blocks.checkAll(c.io); err != nil {
		return "", err
	}
	// Where the blocks must be, by hand: the disk and its sector.
	for _, at := range []struct {
		sector dm.Sectors
		disk   disk
		offset dm.Sectors
	}{
		{0, c.disks[0], 0},
		{2*mib - 8, c.disks[0], 2*mib - 8},          // the end of the linear part
		{2 * mib, c.disks[0], 2 * mib},              // the first stripe
		{2*mib + stripe, c.disks[1], 0},             // the second, on the other disk
		{6*mib - 8, c.disks[1], 2*mib - 8},          // the last
		{6*mib - stripe - 8, c.disks[0], 4*mib - 8}, // the last but one
	} {
		raw, err := c.s.open(at.disk.path)
		if err != nil {
			return "", err
		}
		got, want := aligned(blockSize), aligned(blockSize)
		_, err = raw.ReadAt(got, at.offset.Bytes())
		raw.Close()
		if err != nil {
			return "", err
		}
		if c.blocks.fill(want, int(at.sector.Bytes()/blockSize)); !bytes.Equal(got, want) {
			return "", mismatch("sector %d is not at %d of %s", at.sector, at.offset, at.disk.path)
		}
	}
	c.s.say("%s written and read back", sizeText(dataSize))
	return "every block reads back, and lies on the disk and sector foreseen", nil
}

// swap changes the table while traffic flows: it grows the device by a disk,
// makes it small again, and so on.
func (c *dmChapter) swap(ctx context.Context) (string, error) {
	bigger := append(dm.Table{}, c.table...).Append(2*mib, dm.Linear{Device: c.disks[2].path, Offset: 0})
	var count atomic.Int64
	stop, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		random, p := rand.New(rand.NewPCG(1, 2)), aligned(2*blockSize)
		for {
			select {
			case <-stop:
				failed <- nil
				return
			default:
			}
			i := random.IntN(len(c.blocks.written))
			err := c.blocks.check(c.io, p, i)
			if err == nil {
				err = c.blocks.write(c.io, p[:blockSize], i)
			}
			if err != nil {
				failed <- err
				return
			}
			count.Add(2)
		}
	}()
	const swaps = 10
	var err error
	for i := 0; i < swaps && err == nil; i++ {
		table := bigger
		if i%2 == 1 {
			table = c.table
		}
		before := count.Load()
		if _, err = c.client.Reload(ctx, c.info.Dev, table, dm.ReloadOptions{}); err != nil {
			break
		}
		if err = c.runsOn(ctx, table); err != nil {
			break
		}
		for err == nil && count.Load() < before+20 {
			select {
			case err = <-failed:
				failed <- err
			case <-ctx.Done():
				err = ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
	}
	close(stop)
	if ioErr := <-failed; err == nil {
		err = ioErr
	}
	if err != nil {
		return "", err
	}
	c.s.say("%d swaps, %d reads and writes meanwhile", swaps, count.Load())
	return "no I/O failed, every block holds what was written last", c.blocks.checkAll(c.io)
}
