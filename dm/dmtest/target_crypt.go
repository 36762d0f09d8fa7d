// SPDX-License-Identifier: MIT

package dmtest

import (
	"encoding/hex"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// crypt is dm-crypt.c. It encrypts for real, with the ciphers of
// cryptcipher.go; others are unknown to it, as to a kernel without their
// modules. Not modelled are the IVs lmk, tcw, elephant and random, ciphers
// that authenticate, and keys of the keyring, which a double does not have:
// these are refused as a kernel does that lacks them. Workqueues there are
// none.
type crypt struct {
	lower    area
	a        *Args
	version  [3]uint32
	cipher   *blockCipher
	ivOffset uint64
	flags    map[string]bool
	tagSize  uint32
	profile  string
	macSize  uint32 // of integrity_key_size
	sector   uint64 // unit of encryption, bytes

	mu        sync.RWMutex
	key       []byte
	keyed     bool // the cipher has a key
	suspended bool
}

// cryptDiscarder is a crypt with allow_discards: they are passed down.
type cryptDiscarder struct{ *crypt }

func (c cryptDiscarder) DiscardSectors(sector, n uint64) error {
	return c.lower.DiscardSectors(sector, n)
}

func (c *crypt) Devices() []Area { return c.lower.Devices() }

var cryptFlagOrder = []string{
	"allow_discards", "same_cpu_crypt", "high_priority", "submit_from_crypt_cpus", "no_read_workqueue", "no_write_workqueue",
}

func cryptTarget(minor uint32) Target {
	t := Target{Name: "crypt", Version: [3]uint32{1, 24, 0}, Autoload: true}
	switch {
	case minor >= 48:
		t.Version[1] = 28
	case minor < 46:
		t.Version[1] = 22
	}
	t.New = func(a *Args) (Instance, error) { return newCrypt(a, t.Version) }
	return t
}

func newCrypt(a *Args, version [3]uint32) (Instance, error) {
	if len(a.Argv) < 5 {
		return nil, a.Fail(EINVAL, "Not enough arguments")
	}
	size, key, ok := cryptKeySize(a.Argv[1])
	if !ok {
		return nil, a.Fail(EINVAL, "Cannot parse key size")
	}
	c := &crypt{a: a, version: version, flags: map[string]bool{}, sector: sectorSize, key: make([]byte, size)}
	if text := c.options(a.Argv[5:]); text != "" {
		return nil, a.Fail(EINVAL, text)
	}
	if err := c.setCipher(a.Argv[0]); err != nil {
		return nil, err
	}
	if err := c.setKey(key); err != 0 {
		return nil, a.Fail(err, "Error decoding and setting key")
	}
	if c.ivOffset, ok = scanSector(a.Argv[2]); !ok || c.ivOffset%(c.sector/sectorSize) != 0 {
		return nil, a.Fail(EINVAL, "Invalid iv_offset sector")
	}
	dev, err := a.Open(a.Argv[3])
	if err != nil {
		return nil, withText(err, "Device lookup failed")
	}
	start, ok := scanSector(a.Argv[4])
	if !ok {
		return nil, a.Fail(EINVAL, "Invalid device sector")
	}
	c.lower = area{dev, start, a.Length}
	if c.flags["allow_discards"] {
		return cryptDiscarder{c}, nil
	}
	return c, nil
}

// cryptKeySize is get_key_size: of a hex key half its length, and of
// ":32:logon:name" what stands in it. The key comes back as the kernel looks
// at it from there on.
func cryptKeySize(text string) (size uint32, key string, ok bool) {
	if !strings.HasPrefix(text, ":") {
		return uint32(len(text) / 2), text, true
	}
	number, rest, found := strings.Cut(text[1:], ":")
	size, ok = scanUint(number)
	return size, ":" + rest, found && ok && size <= 1<<20
}

func (c *crypt) options(argv []string) string {
	if len(argv) == 0 {
		return ""
	}
	// crypt_ctr_optional of the versions.
	limit := uint32(8)
	if c.newer() {
		limit = 9
	}
	n, ok := scanUint(argv[0])
	if !ok || n > limit || int(n) > len(argv)-1 {
		return "Invalid number of feature args"
	}
	for _, opt := range argv[1 : 1+n] {
		if text := c.option(opt); text != "" {
			return text
		}
	}
	return ""
}

func (c *crypt) newer() bool { return c.version[1] >= 26 }

func (c *crypt) option(opt string) string {
	lower := strings.ToLower(opt)
	for _, name := range cryptFlagOrder {
		if lower == name && (name != "high_priority" || c.newer()) {
			c.flags[name] = true
			return ""
		}
	}
	if lower == "iv_large_sectors" {
		c.flags[lower] = true
		return ""
	}
	if rest, ok := strings.CutPrefix(opt, "integrity:"); ok {
		number, profile, _ := strings.Cut(rest, ":")
		if n, ok := scanUint(number); ok {
			switch {
			case n == 0 || n > 480:
				return "Invalid integrity arguments"
			case !strings.EqualFold(profile, "aead") && !strings.EqualFold(profile, "none"):
				return "Unknown integrity profile"
			}
			c.tagSize, c.profile = n, profile
			return ""
		}
	}
	if number, ok := strings.CutPrefix(opt, "integrity_key_size:"); ok && c.newer() {
		if n, ok := scanUint(number); ok {
			if c.macSize = n; n == 0 {
				return "Invalid integrity_key_size argument"
			}
			return ""
		}
	}
	if number, ok := strings.CutPrefix(opt, "sector_size:"); ok {
		if n, ok := scanUint(number); ok {
			switch {
			case n < 512 || n > 4096 || bits.OnesCount32(n) != 1:
				return "Invalid feature value for sector_size"
			case c.a.Length%uint64(n/512) != 0:
				return "Device size is not multiple of sector_size feature"
			}
			c.sector = uint64(n)
			return ""
		}
	}
	return "Invalid feature arguments"
}

// setCipher reads the specification as crypt_ctr_cipher does.
func (c *crypt) setCipher(spec string) error {
	bad := func(text string) error { return c.a.Fail(EINVAL, text) }
	aead := strings.EqualFold(c.profile, "aead")
	var api, iv, opts string // "xts(aes)", "plain64", "sha256"
	count := uint32(1)
	if text, ok := strings.CutPrefix(spec, "capi:"); ok {
		if i := strings.LastIndexByte(text, ':'); i >= 0 {
			text, opts = text[:i], text[i+1:]
		}
		if api = text; strings.Contains(text, "-") {
			i := strings.LastIndexByte(text, '-')
			api, iv = text[:i], text[i+1:]
		}
	} else {
		if strings.Contains(spec, "(") || aead {
			return bad("Bad cipher specification")
		}
		name, rest, _ := strings.Cut(spec, "-")
		name, keys, several := strings.Cut(name, ":")
		if n, ok := scanUint(keys); several {
			if count = n; !ok || bits.OnesCount32(n) != 1 {
				return bad("Bad cipher key count specification")
			}
		}
		mode, rest, _ := strings.Cut(rest, "-")
		iv, opts, _ = strings.Cut(rest, ":")
		if mode == "" || mode == "plain" && iv == "" {
			mode, iv = "cbc", "plain"
		}
		if mode != "ecb" && iv == "" {
			return bad("IV mechanism required")
		}
		api = mode + "(" + name + ")"
	}
	if iv == "essiv" && opts == "" {
		return bad("Digest algorithm missing for ESSIV mode")
	}
	b, ok := newBlockCipher(api, iv, opts, count)
	if !ok {
		return c.a.Fail(ENOENT, "Error allocating crypto tfm")
	}
	if !b.knowsIV() {
		return bad("Invalid IV mode")
	}
	c.cipher = b
	if b.mode == "ecb" && iv != "" {
		c.a.Kernel().Log("crypt", "Selected cipher does not support IVs")
	}
	return nil
}

// setKey is crypt_set_key.
func (c *crypt) setKey(text string) syscall.Errno {
	switch {
	case len(c.key) == 0 && text != "-":
		return EINVAL
	case strings.HasPrefix(text, ":"):
		typ, name, _ := strings.Cut(text[1:], ":")
		if name == "" || typ != "logon" && typ != "user" && typ != "encrypted" && typ != "trusted" {
			return EINVAL
		}
		return ENOKEY // the double has no keyring
	}
	c.keyed = false
	if n := 2 * len(c.key); n > 0 {
		if _, err := hex.Decode(c.key, []byte(text[:n])); err != nil {
			return EINVAL
		}
	}
	if !c.cipher.setKey(c.key) {
		return EINVAL
	}
	c.keyed = true
	return 0
}

func (c *crypt) Message(argv []string) (string, error) {
	k := c.a.Kernel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(argv) < 2 || !strings.EqualFold(argv[0], "key") {
		k.Log("crypt", "unrecognised message received.")
		return "", EINVAL
	}
	if !c.suspended {
		k.Log("crypt", "not suspended during key manipulation.")
		return "", EINVAL
	}
	switch {
	case len(argv) == 3 && strings.EqualFold(argv[1], "set"):
		size, key, ok := cryptKeySize(argv[2])
		if !ok || int(size) != len(c.key) {
			return "", EINVAL
		}
		if err := c.setKey(key); err != 0 {
			return "", err
		}
		return "", nil
	case len(argv) == 2 && strings.EqualFold(argv[1], "wipe"):
		clear(c.key)
		c.keyed = false
		return "", nil
	}
	k.Log("crypt", "unrecognised message received.")
	return "", EINVAL
}

func (c *crypt) Postsuspend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.suspended = true
}

func (c *crypt) Preresume() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.keyed {
		c.a.Kernel().Log("crypt", "aborting resume - crypt key is not set.")
		return EAGAIN
	}
	return nil
}

func (c *crypt) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.suspended = false
}

func (c *crypt) Table() string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	key := "-"
	if len(c.key) > 0 {
		key = hex.EncodeToString(c.key)
	}
	line := fmt.Sprintf("%s %s %d %s", c.a.Argv[0], key, c.ivOffset, c.lower)
	var opts []string
	for _, name := range cryptFlagOrder {
		if c.flags[name] {
			opts = append(opts, name)
		}
	}
	if c.tagSize > 0 {
		opts = append(opts, fmt.Sprintf("integrity:%d:%s", c.tagSize, c.profile))
	}
	if c.macSize > 0 {
		opts = append(opts, fmt.Sprintf("integrity_key_size:%d", c.macSize))
	}
	if c.sector != sectorSize {
		opts = append(opts, fmt.Sprintf("sector_size:%d", c.sector))
	}
	if c.flags["iv_large_sectors"] {
		opts = append(opts, "iv_large_sectors")
	}
	if len(opts) > 0 {
		line += " " + strconv.Itoa(len(opts)) + " " + strings.Join(opts, " ")
	}
	return line
}

// yn is how a measurement says whether an option is set.
func yn(on bool) string {
	if on {
		return "y"
	}
	return "n"
}

func (c *crypt) IMA() string {
	var b strings.Builder
	fmt.Fprintf(&b, "target_name=crypt,target_version=%d.%d.%d", c.version[0], c.version[1], c.version[2])
	for _, name := range append(cryptFlagOrder, "iv_large_sectors") {
		if name != "high_priority" || c.newer() {
			fmt.Fprintf(&b, ",%s=%s", name, yn(c.flags[name]))
		}
	}
	if c.tagSize > 0 {
		fmt.Fprintf(&b, ",integrity_tag_size=%d,cipher_auth=%s", c.tagSize, c.profile)
	}
	if c.sector != sectorSize {
		fmt.Fprintf(&b, ",sector_size=%d", c.sector)
	}
	fmt.Fprintf(&b, ",cipher_string=%s,key_size=%d,key_parts=%d,key_extra_size=0,key_mac_size=%d;", c.a.Argv[0], len(c.key), c.cipher.count, c.macSize)
	return b.String()
}

func (c *crypt) ReadSectors(p []byte, sector uint64) error {
	if err := c.aligned(p, sector); err != nil {
		return err
	}
	if err := c.lower.ReadSectors(p, sector); err != nil {
		return err
	}
	c.convert(p, p, sector, false)
	return nil
}

func (c *crypt) WriteSectors(p []byte, sector uint64) error {
	if err := c.aligned(p, sector); err != nil {
		return err
	}
	q := make([]byte, len(p))
	c.convert(q, p, sector, true)
	return c.lower.WriteSectors(q, sector)
}

func (c *crypt) aligned(p []byte, sector uint64) error {
	if uint64(len(p))%c.sector != 0 || sector*sectorSize%c.sector != 0 || c.tagSize > 0 {
		return EIO // a device that takes tags is not modelled
	}
	return nil
}

// convert is crypt_convert.
func (c *crypt) convert(dst, src []byte, sector uint64, encrypt bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for n := sector + c.ivOffset; len(src) > 0; n += c.sector / sectorSize {
		iv := n
		if c.flags["iv_large_sectors"] {
			iv /= c.sector / sectorSize
		}
		c.cipher.convert(dst[:c.sector], src[:c.sector], n, iv, encrypt)
		dst, src = dst[c.sector:], src[c.sector:]
	}
}
