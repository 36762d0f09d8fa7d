// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash"
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// verity is dm-verity-target.c. It checks what is read against the tree on
// the hash device. Of error correction only the arguments are known, nothing
// is corrected; signatures of the root are refused as without their key.
// What would restart or panic the machine fails the read and is in the log.
type verity struct {
	a          *Args
	version    [3]uint32
	chromeOS   bool
	data, hash *Dev
	dataBlock  uint64 // bytes
	hashBlock  uint64
	blocks     uint64
	start      uint64 // in hash blocks
	algorithm  string
	newHash    func() hash.Hash
	root, salt []byte
	perBlock   uint     // log2 of the digests in a hash block
	levels     []uint64 // where each level of the tree starts, the lowest first
	end        uint64   // hash block behind the tree

	mode, errorMode               string
	ignoreZero, atMostOnce, bh    bool
	fecDev                        *Dev
	fecRoots, fecBlocks, fecStart uint64

	mu      sync.Mutex
	failed  bool
	checked map[uint64]bool   // data blocks, with check_at_most_once
	trusted map[uint64][]byte // hash blocks that were checked, as they were then
}

func verityTarget(minor uint32) Target {
	t := Target{Name: "verity", Version: [3]uint32{1, 9, 0}, Autoload: true, Immutable: true}
	switch {
	case minor >= 48:
		t.Version[1], t.Singleton = 10, true
	case minor < 46:
		t.Version[1] = 7
	}
	t.New = func(a *Args) (Instance, error) { return newVerity(a, t.Version) }
	return t
}

func newVerity(a *Args, version [3]uint32) (Instance, error) {
	bad := func(text string) error { return a.Fail(EINVAL, text) }
	if !a.ReadOnly {
		return nil, bad("Device must be readonly")
	}
	if len(a.Argv) < 10 {
		return nil, bad("Not enough arguments")
	}
	v := &verity{a: a, version: version, trusted: map[uint64][]byte{}}
	n, ok := scanUint(a.Argv[0])
	if !ok || n > 1 {
		return nil, bad("Invalid version")
	}
	v.chromeOS = n == 0
	var err error
	if v.data, err = a.OpenRead(a.Argv[1]); err != nil {
		return nil, withText(err, "Data device lookup failed")
	}
	if v.hash, err = a.OpenRead(a.Argv[2]); err != nil {
		return nil, withText(err, "Hash device lookup failed")
	}
	if v.dataBlock, ok = verityBlock(a.Argv[3], v.data, 4096); !ok {
		return nil, bad("Invalid data device block size")
	}
	if v.hashBlock, ok = verityBlock(a.Argv[4], v.hash, 1<<30); !ok {
		return nil, bad("Invalid hash device block size")
	}
	if v.blocks, ok = scanSector(a.Argv[5]); !ok || v.blocks >= 1<<54/(v.dataBlock/sectorSize) {
		return nil, bad("Invalid data blocks")
	}
	if a.Length > v.blocks*(v.dataBlock/sectorSize) {
		return nil, bad("Data device is too small")
	}
	if v.start, ok = scanSector(a.Argv[6]); !ok || v.start >= 1<<54/(v.hashBlock/sectorSize) {
		return nil, bad("Invalid hash start")
	}
	if err := v.digests(); err != nil {
		return nil, err
	}
	if len(a.Argv) > 10 {
		if err := v.options(a.Argv[10:]); err != nil {
			return nil, err
		}
	}
	v.tree()
	if v.hash.Sectors()/(v.hashBlock/sectorSize) < v.end {
		return nil, a.Fail(E2BIG, "Hash device is too small")
	}
	if errno, text := v.checkFEC(); text != "" {
		return nil, a.Fail(errno, text)
	}
	return v, nil
}

func verityBlock(text string, dev *Dev, limit uint32) (uint64, bool) {
	n, ok := scanUint(text)
	return uint64(n), ok && bits.OnesCount32(n) == 1 && n >= uint32(dev.BlockSize()) && n <= limit
}

// digests reads the algorithm, the root digest and the salt.
func (v *verity) digests() error {
	a := v.a
	v.algorithm = a.Argv[7]
	if v.newHash = hashes[v.algorithm]; v.newHash == nil {
		return a.Fail(ENOENT, "Cannot initialize hash function")
	}
	a.Kernel().Log("verity", `%s using implementation "%s-generic"`, v.algorithm, v.algorithm)
	size := v.newHash().Size()
	if v.hashBlock < uint64(size)*2 {
		return a.Fail(EINVAL, "Digest size too big")
	}
	var err error
	if v.root, err = hex.DecodeString(a.Argv[8]); err != nil || len(v.root) != size {
		return a.Fail(EINVAL, "Invalid root digest")
	}
	if text := a.Argv[9]; text != "-" {
		if v.salt, err = hex.DecodeString(text); err != nil {
			return a.Fail(EINVAL, "Invalid salt")
		}
	}
	v.perBlock = uint(bits.Len64(v.hashBlock/uint64(size)) - 1)
	return nil
}

// tree finds where the levels of the tree lie: the top first.
func (v *verity) tree() {
	n := 0
	for ; v.blocks > 0 && v.perBlock*uint(n) < 64 && (v.blocks-1)>>(v.perBlock*uint(n)) != 0; n++ {
	}
	v.levels = make([]uint64, n)
	at := v.start
	for i := n - 1; i >= 0; i-- {
		v.levels[i] = at
		at += (v.blocks-1)>>(uint(i+1)*v.perBlock) + 1
	}
	v.end = at
}

func (v *verity) options(argv []string) error {
	bad := func(text string) error { return v.a.Fail(EINVAL, text) }
	n, ok := scanUint(argv[0])
	// DM_VERITY_OPTS_MAX.
	if !ok || n > 15 || int(n) > len(argv)-1 {
		return bad("Invalid number of feature args")
	}
	argv = argv[1 : 1+n]
	for len(argv) > 0 {
		opt := strings.ToLower(argv[0])
		argv = argv[1:]
		value := func(need string) (string, error) {
			if len(argv) == 0 {
				return "", bad(need)
			}
			s := argv[0]
			argv = argv[1:]
			return s, nil
		}
		switch {
		case opt == "ignore_corruption" || opt == "restart_on_corruption" || opt == "panic_on_corruption":
			if v.mode != "" && v.version[1] >= 8 {
				return bad("Conflicting error handling parameters")
			}
			v.mode = opt
		case (opt == "restart_on_error" || opt == "panic_on_error") && v.version[1] >= 10:
			if v.errorMode != "" {
				return bad("Conflicting error handling parameters")
			}
			v.errorMode = opt
		case opt == "ignore_zero_blocks":
			v.ignoreZero = true
		case opt == "check_at_most_once":
			if v.blocks > 1<<31-1 {
				return v.a.Fail(E2BIG, "device too large to use check_at_most_once")
			}
			v.atMostOnce, v.checked = true, map[uint64]bool{}
		case opt == "try_verify_in_tasklet" && v.version[1] >= 9:
			v.bh = true
		case opt == "use_fec_from_device" || strings.HasPrefix(opt, "fec_"):
			s, err := value("FEC feature arguments require a value")
			if err == nil {
				err = v.fecOption(opt, s)
			}
			if err != nil {
				return err
			}
		case opt == "root_hash_sig_key_desc":
			if _, err := value("DM Verity Sig Verification Signature key not specified"); err != nil {
				return err
			}
			return v.a.Fail(ENOKEY, "DM Verity Sig Verification Invalid key specified")
		default:
			return v.unknown(opt)
		}
	}
	return nil
}

func (v *verity) unknown(opt string) error {
	if v.version[1] >= 9 {
		v.a.Kernel().Log("verity", "Unrecognized verity feature request: %s", opt)
	}
	return v.a.Fail(EINVAL, "Unrecognized verity feature request")
}

// fecOption is verity_fec_parse_opt_args.
func (v *verity) fecOption(opt, value string) (err error) {
	n, ok := scanSector(value)
	ok = ok && n < 1<<54/(v.dataBlock/sectorSize)
	switch opt {
	case "use_fec_from_device":
		if v.fecDev, err = v.a.OpenRead(value); err != nil {
			return withText(err, "FEC device lookup failed")
		}
		return nil
	case "fec_blocks":
		v.fecBlocks = n
	case "fec_start":
		v.fecStart = n
	case "fec_roots":
		v.fecRoots = n
		ok = ok && n >= 2 && n <= 24
	default:
		return v.unknown(opt)
	}
	if !ok {
		return v.a.Fail(EINVAL, "Invalid "+opt)
	}
	return nil
}

// checkFEC is verity_fec_ctr.
func (v *verity) checkFEC() (syscall.Errno, string) {
	if v.fecDev == nil {
		return 0, ""
	}
	perBlock := v.dataBlock / sectorSize
	switch {
	case v.dataBlock != v.hashBlock:
		return EINVAL, "Block sizes must match to use FEC"
	case v.fecRoots == 0:
		return EINVAL, "Missing fec_roots"
	case v.fecBlocks == 0:
		return EINVAL, "Missing fec_blocks"
	case v.fecBlocks < v.blocks+v.end-v.start:
		return EINVAL, "Invalid fec_blocks"
	case v.hash.Sectors()/perBlock < v.fecBlocks-v.blocks:
		return E2BIG, "Hash device is too small for fec_blocks"
	case v.data.Sectors()/perBlock < v.blocks:
		return E2BIG, "Data device is too small"
	}
	return 0, ""
}

func (v *verity) Devices() []Area { return []Area{{v.data, 0, v.a.Length}} }

func (v *verity) Status(bool) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failed {
		return "C"
	}
	return "V"
}

func (v *verity) saltText() string {
	if len(v.salt) == 0 {
		return "-"
	}
	return hex.EncodeToString(v.salt)
}

func (v *verity) Table() string {
	format := 1
	if v.chromeOS {
		format = 0
	}
	line := fmt.Sprintf("%d %s %s %d %d %d %d %s %x %s", format, v.data.Name(), v.hash.Name(),
		v.dataBlock, v.hashBlock, v.blocks, v.start, v.algorithm, v.root, v.saltText())
	var opts []string
	for _, o := range []struct {
		on   bool
		name string
	}{
		{v.mode != "", v.mode}, {v.errorMode != "", v.errorMode}, {v.ignoreZero, "ignore_zero_blocks"},
		{v.atMostOnce, "check_at_most_once"}, {v.bh, "try_verify_in_tasklet"},
	} {
		if o.on {
			opts = append(opts, o.name)
		}
	}
	if v.fecDev != nil {
		opts = append(opts, strings.Fields(fmt.Sprintf("use_fec_from_device %s fec_blocks %d fec_start %d fec_roots %d",
			v.fecDev.Name(), v.fecBlocks, v.fecStart, v.fecRoots))...)
	}
	if len(opts) > 0 {
		line += " " + strconv.Itoa(len(opts)) + " " + strings.Join(opts, " ")
	}
	return line
}

func (v *verity) IMA() string {
	format := 1
	if v.chromeOS {
		format = 0
	}
	s := fmt.Sprintf("target_name=verity,target_version=%d.%d.%d,hash_failed=%s,verity_version=%d,data_device_name=%s,hash_device_name=%s,verity_algorithm=%s,root_digest=%x,salt=%s,ignore_zero_blocks=%s,check_at_most_once=%s",
		v.version[0], v.version[1], v.version[2], v.Status(true), format, v.data.Name(), v.hash.Name(), v.algorithm, v.root, v.saltText(), yn(v.ignoreZero), yn(v.atMostOnce))
	if v.mode != "" {
		s += ",verity_mode=" + v.mode
	}
	if v.errorMode != "" {
		s += ",verity_error_mode=" + v.errorMode
	}
	return s + ";"
}

// ReadSectors is verity_map and verity_verify_io.
func (v *verity) ReadSectors(p []byte, sector uint64) error {
	per := v.dataBlock / sectorSize
	if sector%per != 0 || uint64(len(p))%v.dataBlock != 0 {
		v.a.Kernel().Log("verity", "unaligned io")
		return EIO
	}
	if err := v.data.ReadSectors(p, sector); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for n := sector / per; len(p) > 0; n, p = n+1, p[v.dataBlock:] {
		if err := v.verify(p[:v.dataBlock], n); err != nil {
			return err
		}
	}
	return nil
}

func (v *verity) WriteSectors([]byte, uint64) error { return EIO }

// Postsuspend forgets what was read of the tree (dm_bufio_client_reset);
// older kernels keep it.
func (v *verity) Postsuspend() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.trusted)
}

// verify checks one data block.
func (v *verity) verify(p []byte, block uint64) error {
	if v.checked[block] {
		return nil
	}
	want, err := v.digestOf(block)
	if err != nil {
		return err
	}
	if v.ignoreZero && bytes.Equal(want, v.sum(make([]byte, v.dataBlock))) {
		clear(p)
		return nil
	}
	if !bytes.Equal(v.sum(p), want) {
		return v.corrupted("data", block)
	}
	if v.atMostOnce {
		v.checked[block] = true
	}
	return nil
}

// digestOf finds the digest of a data block, from the root downwards.
func (v *verity) digestOf(block uint64) ([]byte, error) {
	want := v.root
	for i := len(v.levels) - 1; i >= 0; i-- {
		at := block >> (uint(i) * v.perBlock)
		n := v.levels[i] + at>>v.perBlock
		b := v.trusted[n]
		if b == nil {
			b = make([]byte, v.hashBlock)
			if err := v.hash.ReadSectors(b, n*(v.hashBlock/sectorSize)); err != nil {
				return nil, err
			}
			if bytes.Equal(v.sum(b), want) {
				v.trusted[n] = b
			} else if err := v.corrupted("metadata", n); err != nil {
				return nil, err
			}
		}
		// Format 1 gives each digest as much room as the next power of 2.
		size := uint64(len(v.root))
		room := v.hashBlock >> v.perBlock
		if v.chromeOS {
			room = size
		}
		from := at & (1<<v.perBlock - 1) * room
		want = b[from : from+size]
	}
	return want, nil
}

// sum hashes a block, with the salt before it in format 1 and behind it in 0.
func (v *verity) sum(p []byte) []byte {
	h := v.newHash()
	if !v.chromeOS {
		h.Write(v.salt)
	}
	h.Write(p)
	if v.chromeOS {
		h.Write(v.salt)
	}
	return h.Sum(nil)
}

// corrupted is verity_handle_err.
func (v *verity) corrupted(kind string, block uint64) error {
	v.failed = true
	v.a.Kernel().Log("verity", "%s: %s block %d is corrupted", v.data.Name(), kind, block)
	switch v.mode {
	case "ignore_corruption":
		return nil
	case "restart_on_corruption":
		v.a.Kernel().Log("verity", "the machine would restart now")
	case "panic_on_corruption":
		v.a.Kernel().Log("verity", "the kernel would panic now")
	}
	return EIO
}
