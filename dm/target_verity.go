// SPDX-License-Identifier: MIT

package dm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// VerityAction is what [Verity] does about an error, besides failing the
// read.
type VerityAction uint8

// The actions (enum verity_mode in drivers/md/dm-verity.h).
const (
	VerityFail    VerityAction = iota // fail the read with EIO, no more
	VerityIgnore                      // log it and give the corrupted data
	VerityRestart                     // restart the machine
	VerityPanic                       // panic the kernel; Linux 5.9
)

var (
	corruptionWords = [...]string{"", "ignore_corruption", "restart_on_corruption", "panic_on_corruption"}
	ioErrorWords    = [...]string{"", "", "restart_on_error", "panic_on_error"}
)

// String names the action.
func (a VerityAction) String() string {
	if names := [...]string{"fail", "ignore", "restart", "panic"}; int(a) < len(names) {
		return names[a]
	}
	return "action " + strconv.Itoa(int(a))
}

// VerityFEC is the error correction of a [Verity], with Reed-Solomon codes.
type VerityFEC struct {
	Device string // empty for none
	Roots  uint8  // parity bytes a codeword of 255, from 2 to 24
	Blocks uint64 // that the codes cover: data, hashes and what lies behind
	Start  uint64 // block where the parity data begin
}

// Verity checks each block that is read of a device against a tree of
// hashes, of which the root is known (drivers/md/dm-verity-target.c). It can
// only be in a read-only table: set ReadOnly in the options of Create, Load
// and Reload.
type Verity struct {
	// ChromeOS is the hash format 0, of the original Chrome OS. Else it is
	// format 1.
	ChromeOS      bool
	Device        string // that holds the data, from its start
	HashDevice    string // that holds the tree; may be the same
	DataBlockSize uint32 // bytes, a power of 2 from 512 to the size of a page
	HashBlockSize uint32 // bytes, a power of 2
	DataBlocks    uint64
	HashStart     uint64 // block of the hash device where the tree begins
	Algorithm     string // name of the kernel's crypto API: sha256
	RootDigest    string // lower-case hex digits
	Salt          string // lower-case hex digits; empty for none

	OnCorruption VerityAction // about a block that does not match
	OnError      VerityAction // about a failed I/O, not VerityIgnore; Linux 6.12

	IgnoreZeroBlocks   bool // don't read blocks that must be zero
	CheckAtMostOnce    bool // check a block when it is read for the first time
	TryVerifyInTasklet bool // check in the interrupt when nothing has to be read; Linux 6.0
	FEC                VerityFEC
	RootHashSigKeyDesc string // key in the user keyring that holds a signature of RootDigest
}

// TargetType is "verity".
func (Verity) TargetType() string { return "verity" }

// NeedsReadOnly is true.
func (Verity) NeedsReadOnly() bool { return true }

// Params is "version device hashdevice datablock hashblock blocks hashstart
// algorithm digest salt [n option…]", in the order of verity_status.
func (v Verity) Params() string {
	version, salt := "1", v.Salt
	if v.ChromeOS {
		version = "0"
	}
	if salt == "" {
		salt = "-"
	}
	args := []string{
		version, v.Device, v.HashDevice, num(v.DataBlockSize), num(v.HashBlockSize),
		num(v.DataBlocks), num(v.HashStart), v.Algorithm, v.RootDigest, salt,
	}
	var opts []string
	if int(v.OnCorruption) < len(corruptionWords) && v.OnCorruption != VerityFail {
		opts = append(opts, corruptionWords[v.OnCorruption])
	}
	if int(v.OnError) < len(ioErrorWords) && ioErrorWords[v.OnError] != "" {
		opts = append(opts, ioErrorWords[v.OnError])
	}
	for _, f := range v.boolOptions() {
		if *f.on {
			opts = append(opts, f.name)
		}
	}
	if f := v.FEC; f.Device != "" {
		opts = append(opts, "use_fec_from_device", f.Device, "fec_blocks", num(f.Blocks), "fec_start", num(f.Start), "fec_roots", num(f.Roots))
	}
	if v.RootHashSigKeyDesc != "" {
		opts = append(opts, "root_hash_sig_key_desc", v.RootHashSigKeyDesc)
	}
	if len(opts) > 0 {
		args = append(append(args, num(len(opts))), opts...)
	}
	return JoinArgs(args...)
}

func (v *Verity) boolOptions() []boolOption {
	return []boolOption{
		{"ignore_zero_blocks", &v.IgnoreZeroBlocks}, {"check_at_most_once", &v.CheckAtMostOnce},
		{"try_verify_in_tasklet", &v.TryVerifyInTasklet},
	}
}

// Extents is the data from its start, and the tree with all its levels.
func (v Verity) Extents(length Sectors) []Extent {
	ext := []Extent{{v.Device, 0, length}}
	hash := Extent{Device: v.HashDevice}
	if n, ok := v.hashBlocks(); ok && n <= 1<<40 && v.HashStart <= 1<<40 {
		hash.Start = Sectors(v.HashStart) * Sectors(v.HashBlockSize/512)
		hash.Length = Sectors(n) * Sectors(v.HashBlockSize/512)
	}
	ext = append(ext, hash)
	if v.FEC.Device != "" {
		ext = append(ext, Extent{Device: v.FEC.Device})
	}
	return ext
}

// hashBlocks is the number of blocks of the tree. A block holds a power of 2
// of digests, and the root's own digest is in the table.
func (v Verity) hashBlocks() (n uint64, ok bool) {
	digest := uint32(len(v.RootDigest) / 2)
	if digest == 0 || v.HashBlockSize/digest < 2 {
		return 0, false
	}
	shift := bits.Len32(v.HashBlockSize/digest) - 1
	for blocks := v.DataBlocks; blocks > 1; {
		blocks = (blocks-1)>>shift + 1
		n += blocks
	}
	return n, true
}

// digestSizes are those of the hashes in use, in bytes.
var digestSizes = map[string]int{
	"sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64,
	"sha3-256": 32, "sha3-512": 64, "blake2b-256": 32, "blake2b-512": 64, "blake2s-256": 32,
}

// Validate checks the block sizes, the digests and the options that need each
// other.
func (v Verity) Validate(length Sectors) error {
	if err := needDevice(v.Device, v.HashDevice); err != nil {
		return err
	}
	// A page has 64 KiB at most.
	if err := blockSize("data block", max(v.DataBlockSize, 1), 64<<10); err != nil {
		return err
	}
	if err := blockSize("hash block", max(v.HashBlockSize, 1), 1<<30); err != nil {
		return err
	}
	unit := uint64(v.DataBlockSize / 512)
	switch {
	case v.DataBlocks > 1<<54/unit:
		return fmt.Errorf("%d data blocks are beyond any device", v.DataBlocks)
	case uint64(length) > v.DataBlocks*unit:
		return fmt.Errorf("%d data blocks are less than the length %d", v.DataBlocks, uint64(length))
	case uint64(length)%unit != 0:
		return fmt.Errorf("length %d is not a multiple of blocks of %d bytes", uint64(length), v.DataBlockSize)
	case v.HashStart > 1<<54/uint64(v.HashBlockSize/512):
		return fmt.Errorf("hash start %d is beyond any device", v.HashStart)
	case v.Algorithm == "":
		return errors.New("no algorithm")
	case strings.ContainsFunc(v.Algorithm+v.RootHashSigKeyDesc, func(r rune) bool { return r <= ' ' || r == '\\' || r > '~' }):
		return errors.New("blank or backslash in the algorithm or the key's description")
	}
	if err := lowerHex("salt", v.Salt); err != nil {
		return err
	}
	if err := lowerHex("root digest", v.RootDigest); err != nil {
		return err
	}
	digest := len(v.RootDigest) / 2
	if want := digestSizes[v.Algorithm]; digest == 0 || want != 0 && digest != want {
		return fmt.Errorf("root digest of %d bytes", digest)
	}
	switch {
	case int(v.HashBlockSize) < digest*2:
		return fmt.Errorf("a hash block of %d bytes does not hold two digests", v.HashBlockSize)
	case int(v.OnCorruption) >= len(corruptionWords):
		return fmt.Errorf("on corruption: %v", v.OnCorruption)
	case int(v.OnError) >= len(ioErrorWords) || v.OnError == VerityIgnore:
		return fmt.Errorf("on error: %v", v.OnError)
	case v.CheckAtMostOnce && v.DataBlocks > 1<<31-1:
		return fmt.Errorf("check_at_most_once takes at most %d blocks", 1<<31-1)
	}
	return v.FEC.validate(v)
}

// validate applies the rules of verity_fec_parse_opt_args and verity_fec_ctr.
func (f VerityFEC) validate(v Verity) error {
	if f.Device == "" {
		if f != (VerityFEC{}) {
			return errors.New("error correction without a device")
		}
		return nil
	}
	tree, _ := v.hashBlocks()
	switch {
	case f.Roots < 2 || f.Roots > 24:
		return fmt.Errorf("%d roots, error correction takes 2 to 24", f.Roots)
	case v.DataBlockSize != v.HashBlockSize:
		return errors.New("error correction needs data and hash blocks of one size")
	case f.Blocks < v.DataBlocks+tree:
		return fmt.Errorf("error correction covers %d blocks, data and hashes have %d", f.Blocks, v.DataBlocks+tree)
	case max(f.Blocks, f.Start) > 1<<54/uint64(v.DataBlockSize/512):
		return errors.New("error correction covers more than any device has")
	}
	return nil
}

func lowerHex(what, text string) error {
	if _, err := hex.DecodeString(text); err != nil || strings.ToLower(text) != text {
		return fmt.Errorf("%s %q is not an even number of lower-case hex digits", what, text)
	}
	return nil
}

func parseVerity(params string) (Target, error) {
	r := readArgs(params)
	v := Verity{ChromeOS: r.oneOf("version", "0", "1") == 0}
	v.Device, v.HashDevice = r.device("device"), r.device("hash device")
	v.DataBlockSize, v.HashBlockSize = uint32(r.uint("data block size", 32)), uint32(r.uint("hash block size", 32))
	v.DataBlocks, v.HashStart = r.uint("data blocks", 64), r.uint("hash start", 64)
	v.Algorithm = r.str("algorithm")
	v.RootDigest, v.Salt = strings.ToLower(r.str("root digest")), strings.ToLower(r.str("salt"))
	if v.Salt == "-" {
		v.Salt = ""
	} else if r.err == nil && v.Salt == "" {
		r.fail("salt", errors.New("empty"))
	}
	if n := r.group("options"); r.err == nil && n != r.left() {
		r.fail("options", fmt.Errorf("%d announced, %d given", n, r.left()))
	}
	for r.err == nil && r.left() > 0 {
		v.option(&r, strings.ToLower(r.str("option")))
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Verity) option(r *argReader, opt string) {
	for _, f := range v.boolOptions() {
		if f.name == opt {
			*f.on = true
			return
		}
	}
	for a := VerityIgnore; a <= VerityPanic; a++ {
		switch {
		case opt == corruptionWords[a]:
			v.OnCorruption = a
			return
		case opt == ioErrorWords[a] && opt != "":
			v.OnError = a
			return
		}
	}
	switch opt {
	case "use_fec_from_device":
		v.FEC.Device = r.device("device")
	case "fec_roots":
		v.FEC.Roots = uint8(r.uint("roots", 8))
	case "fec_blocks":
		v.FEC.Blocks = r.uint("blocks", 64)
	case "fec_start":
		v.FEC.Start = r.uint("start", 64)
	case "root_hash_sig_key_desc":
		if v.RootHashSigKeyDesc = r.str("description"); r.err == nil && v.RootHashSigKeyDesc == "" {
			r.fail("description", errors.New("empty"))
		}
	default:
		r.fail("option", fmt.Errorf("%q is unknown", opt))
	}
}

// VerityStatus says whether a [Verity] has met a block that does not match.
type VerityStatus struct {
	Corrupted bool
	// FECReported says that the kernel tells about error correction, which it
	// does since Linux 6.19; FECEnabled that the device has it. Corrected
	// blocks were restored since the table is loaded.
	FECReported, FECEnabled bool
	Corrected               uint64
}

// ParseVerityStatus reads "V" or "C", and what newer kernels print behind it.
func ParseVerityStatus(text string) (VerityStatus, error) {
	r := readArgs(text)
	s := VerityStatus{Corrupted: r.oneOf("state", "V", "C") == 1}
	if s.FECReported = r.left() > 0; s.FECReported {
		if s.FECEnabled = r.peek() != "-"; s.FECEnabled {
			s.Corrected = r.uint("corrected blocks", 64)
		} else {
			r.str("corrected blocks")
		}
	}
	if err := r.end(); err != nil {
		return VerityStatus{}, badStatus("verity", err)
	}
	return s, nil
}

// String is the kernel's text.
func (s VerityStatus) String() string {
	text := "V"
	if s.Corrupted {
		text = "C"
	}
	switch {
	case !s.FECReported:
		return text
	case !s.FECEnabled:
		return text + " -"
	}
	return text + " " + num(s.Corrected)
}
