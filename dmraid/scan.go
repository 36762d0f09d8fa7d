// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"errors"
	"io"
	"sync"
)

// LegSource is where the metadata of a leg can be read.
type LegSource struct {
	Name string // for people: a path
	// Open gives the metadata device or an image of it. If it is also an
	// io.Closer it is closed. Nil: there is no leg in this position.
	Open func(ctx context.Context) (io.ReaderAt, error)
}

// LegReader is a LegSource over what is open already, and stays open.
func LegReader(name string, r io.ReaderAt) LegSource {
	return LegSource{Name: name, Open: func(context.Context) (io.ReaderAt, error) { return keepOpen{r}, nil }}
}

// keepOpen hides a Close.
type keepOpen struct{ io.ReaderAt }

// LegImage is what was found on the metadata of a leg.
type LegImage struct {
	Name    string
	Missing bool // there is no leg in this position
	// Super is the superblock if Err is nil, and as much of it as could be
	// read if Err is [ErrCorrupt] or errors.ErrUnsupported.
	Super Superblock
	Err   error // of opening, or of [ReadSuperblock]
	// Bitmap is nil if BitmapErr is not, or if there is no superblock: it
	// isn't looked for then.
	Bitmap    *Bitmap
	BitmapErr error
}

// Found is the leg as [KernelState] wants it.
func (l LegImage) Found() LegFound {
	switch {
	case l.Missing:
		return LegFound{}
	case errors.Is(l.Err, ErrForeign):
		return LegFound{Meta: MetaFresh}
	case l.Err == nil, errors.Is(l.Err, errors.ErrUnsupported), errors.Is(l.Err, ErrCorrupt) && l.Super.NumDevices != 0:
		found := LegFound{Meta: MetaValid, Super: l.Super, Bitmap: l.Bitmap}
		if found.Bitmap == nil && l.BitmapErr != nil {
			found.Bitmap = &Bitmap{} // md finds none either
		}
		return found
	}
	return LegFound{Meta: MetaUnreadable}
}

// scanAtOnce is how many legs are read at the same time: all that an array
// can have. Each waits for a device of its own.
const scanAtOnce = MaxLegs

// Scan reads superblocks and bitmaps of many legs at the same time, and gives
// them in the order of the sources. What is wrong with a leg is in its
// LegImage. The error is that of ctx; reads that hang are left behind then.
func Scan(ctx context.Context, sources []LegSource) ([]LegImage, error) {
	type result struct {
		i   int
		leg LegImage
	}
	results := make(chan result, len(sources)) // large enough for those that nobody waits for
	turn := make(chan struct{}, scanAtOnce)
	var start sync.WaitGroup
	start.Go(func() {
		for i, s := range sources {
			select {
			case turn <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go func() {
				defer func() { <-turn }()
				results <- result{i, scanLeg(ctx, s)}
			}()
		}
	})
	defer start.Wait()
	legs := make([]LegImage, len(sources))
	for range sources {
		select {
		case r := <-results:
			legs[r.i] = r.leg
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return legs, nil
}

func scanLeg(ctx context.Context, s LegSource) LegImage {
	leg := LegImage{Name: s.Name}
	if s.Open == nil {
		leg.Missing = true
		return leg
	}
	r, err := s.Open(ctx)
	if err != nil {
		leg.Err = &Error{Op: "scan", Object: s.Name, Err: err}
		return leg
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	leg.Super, leg.Err = ReadSuperblock(r)
	var e *Error
	if errors.As(leg.Err, &e) {
		e.Object = s.Name
	}
	if leg.Err != nil && !errors.Is(leg.Err, errors.ErrUnsupported) || ctx.Err() != nil {
		return leg
	}
	m, err := ReadBitmap(r)
	if err != nil {
		if errors.As(err, &e) {
			e.Object = s.Name
		}
		leg.BitmapErr = err
		return leg
	}
	leg.Bitmap = &m
	return leg
}
