// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Crypt encrypts what goes to a device (drivers/md/dm-crypt.c). It knows
// nothing of LUKS: the key is that of the cipher itself.
type Crypt struct {
	// Cipher is "cipher[:keycount]-mode-iv[:options]", such as
	// aes-xts-plain64, or "capi:" and a name of the kernel's crypto API,
	// such as capi:xts(aes)-plain64.
	Cipher   string
	Key      Key     // none only for cipher_null
	IVOffset Sectors // added to the sector's number that makes the IV
	Device   string
	Offset   Sectors // where the encrypted data start on the device

	AllowDiscards       bool // pass discards down, which shows what is unused
	SameCPUCrypt        bool // encrypt on the CPU that submitted the I/O
	HighPriority        bool // run at high priority; Linux 6.10
	SubmitFromCryptCPUs bool // write from the CPU that encrypted, unsorted
	NoReadWorkqueue     bool // decrypt where the read ends; Linux 5.9
	NoWriteWorkqueue    bool // encrypt where the write is submitted; Linux 5.9

	// Integrity stores a tag beside each sector, which needs a device that
	// has room for it, such as an [Integrity] without InternalHash.
	Integrity CryptIntegrity
	// IntegrityKeySize is how many bytes of the key are for authentication,
	// where it is not the length of the digest; Linux 6.12.
	IntegrityKeySize uint32

	SectorSize     uint32 // unit of encryption in bytes, up to 4096; 0 is 512
	IVLargeSectors bool   // IVs count in SectorSize instead of 512 bytes
}

// CryptIntegrity is the tag beside each sector of a [Crypt].
type CryptIntegrity struct {
	TagSize uint32 // bytes; 0 for no tags
	AEAD    bool   // an authenticating cipher, which needs a capi cipher
}

func (i CryptIntegrity) String() string {
	switch {
	case i.TagSize == 0:
		return ""
	case i.AEAD:
		return "integrity:" + num(i.TagSize) + ":aead"
	}
	return "integrity:" + num(i.TagSize) + ":none"
}

// TargetType is "crypt".
func (Crypt) TargetType() string { return "crypt" }

// boolOptions are the options without a value that stand before those with
// one, in the order of crypt_status.
func (c *Crypt) boolOptions() []boolOption {
	return []boolOption{
		{"allow_discards", &c.AllowDiscards}, {"same_cpu_crypt", &c.SameCPUCrypt},
		{"high_priority", &c.HighPriority}, {"submit_from_crypt_cpus", &c.SubmitFromCryptCPUs},
		{"no_read_workqueue", &c.NoReadWorkqueue}, {"no_write_workqueue", &c.NoWriteWorkqueue},
	}
}

type boolOption struct {
	name string
	on   *bool
}

// Params is "cipher key ivoffset device offset [n option…]", with the key.
func (c Crypt) Params() string { return c.params(c.Key.Reveal()) }

// Redacted is Params without the key.
func (c Crypt) Redacted() string { return c.params(c.Key.String()) }

func (c Crypt) params(key string) string {
	var opts []string
	for _, f := range c.boolOptions() {
		if *f.on {
			opts = append(opts, f.name)
		}
	}
	if c.Integrity.TagSize > 0 {
		opts = append(opts, c.Integrity.String())
	}
	if c.IntegrityKeySize > 0 {
		opts = append(opts, "integrity_key_size:"+num(c.IntegrityKeySize))
	}
	if c.SectorSize > 0 {
		opts = append(opts, "sector_size:"+num(c.SectorSize))
	}
	if c.IVLargeSectors {
		opts = append(opts, "iv_large_sectors")
	}
	args := []string{c.Cipher, key, num(c.IVOffset), c.Device, num(c.Offset)}
	if len(opts) > 0 {
		args = append(append(args, num(len(opts))), opts...)
	}
	return JoinArgs(args...)
}

// Extents is the range on the device.
func (c Crypt) Extents(length Sectors) []Extent { return []Extent{{c.Device, c.Offset, length}} }

// maxCryptTag is MAX_TAG_SIZE of dm-crypt.c.
const maxCryptTag = 480

// Validate checks the form of cipher and key, and the unit of encryption.
// Whether the cipher exists and takes a key of this size, only the kernel
// knows.
func (c Crypt) Validate(length Sectors) error {
	if err := needDevice(c.Device); err != nil {
		return err
	}
	if err := c.Key.Validate(); err != nil {
		return err
	}
	if err := validCipher(c.Cipher, c.Integrity.AEAD); err != nil {
		return err
	}
	null := strings.Contains(c.Cipher, "cipher_null")
	switch {
	case c.Key.IsZero() != null:
		return errors.New("cipher_null takes no key, any other cipher needs one")
	case c.Integrity.TagSize > maxCryptTag || c.Integrity.AEAD && c.Integrity.TagSize == 0:
		return fmt.Errorf("tag of %d bytes", c.Integrity.TagSize)
	}
	if err := blockSize("sector", c.SectorSize, 4096); err != nil {
		return err
	}
	unit := Sectors(max(c.SectorSize, 512) / 512)
	switch {
	case length%unit != 0:
		return fmt.Errorf("length %d is not a multiple of sectors of %d bytes", uint64(length), c.SectorSize)
	case c.IVOffset%unit != 0:
		return fmt.Errorf("IV offset %d is not a multiple of sectors of %d bytes", uint64(c.IVOffset), c.SectorSize)
	}
	return nil
}

// blockSize checks a power of 2 from 512 to limit; 0 is the target's default.
func blockSize(what string, n, limit uint32) error {
	if n != 0 && (bits.OnesCount32(n) != 1 || n < 512 || n > limit) {
		return fmt.Errorf("%s size %d is not a power of 2 from 512 to %d", what, n, limit)
	}
	return nil
}

// validCipher applies the rules of crypt_ctr_cipher_old and
// crypt_ctr_cipher_new that do not ask the crypto API.
func validCipher(spec string, aead bool) error {
	if spec == "" || strings.ContainsFunc(spec, func(r rune) bool { return r <= ' ' || r == '\\' || r > '~' }) {
		// The kernel prints it back without quoting.
		return errors.New("cipher is empty, or has a blank or a backslash in it")
	}
	if capi, ok := strings.CutPrefix(spec, "capi:"); ok {
		if strings.HasSuffix(capi, "-essiv") {
			return fmt.Errorf("cipher %s: essiv needs a digest", spec)
		}
		return nil
	}
	if aead || strings.Contains(spec, "(") {
		return fmt.Errorf("cipher %s: a name of the crypto API needs capi: before it", spec)
	}
	cipher, rest, _ := strings.Cut(spec, "-")
	mode, iv, _ := strings.Cut(rest, "-")
	if _, count, ok := strings.Cut(cipher, ":"); ok {
		if n, err := strconv.ParseUint(count, 10, 32); err != nil || bits.OnesCount64(n) != 1 {
			return fmt.Errorf("cipher %s: the number of keys is not a power of 2", spec)
		}
	}
	switch {
	case iv == "" && mode != "" && mode != "plain" && mode != "ecb":
		return fmt.Errorf("cipher %s: no IV", spec)
	case iv == "essiv" || iv == "essiv:":
		return fmt.Errorf("cipher %s: essiv needs a digest", spec)
	}
	return nil
}

func parseCrypt(params string) (Target, error) {
	c, err := cryptArgs(params)
	if err != nil {
		return nil, withoutSecrets(err, params)
	}
	return c, nil
}

// withoutSecrets is the error of a parser whose arguments may be a key that
// stands in the wrong place: no argument that is long enough for one is shown.
func withoutSecrets(err error, params string) error {
	var long []string
	for _, w := range SplitArgs(params) {
		if len(w) >= 16 {
			q := strconv.Quote(w)
			long = append(long, q[1:len(q)-1])
		}
	}
	return errors.New(redactText(err.Error(), long))
}

func cryptArgs(params string) (Crypt, error) {
	r := readArgs(params)
	c := Crypt{Cipher: r.str("cipher")}
	switch text := r.str("key"); {
	case r.err != nil:
	case text == "0":
		// dmsetup hides keys behind zeros, and with them the "-" of none.
	default:
		var err error
		if c.Key, err = ParseKey(text); err != nil {
			r.fail("key", err)
		}
	}
	c.IVOffset = r.sectors("IV offset")
	c.Device = r.device("device")
	c.Offset = r.sectors("offset")
	if n := r.group("options"); r.err == nil && n != r.left() {
		r.fail("options", fmt.Errorf("%d announced, %d given", n, r.left()))
	}
	for r.err == nil && r.left() > 0 {
		c.option(&r, r.str("option"))
	}
	return c, r.end()
}

func (c *Crypt) option(r *argReader, opt string) {
	for _, f := range c.boolOptions() {
		if strings.EqualFold(f.name, opt) {
			*f.on = true
			return
		}
	}
	if strings.EqualFold(opt, "iv_large_sectors") {
		c.IVLargeSectors = true
		return
	}
	name, value, _ := strings.Cut(opt, ":")
	profile := ""
	if name == "integrity" {
		value, profile, _ = strings.Cut(value, ":")
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n == 0 {
		r.fail("option", fmt.Errorf("%q", opt))
		return
	}
	switch name {
	case "integrity_key_size":
		c.IntegrityKeySize = uint32(n)
	case "sector_size":
		c.SectorSize = uint32(n)
	case "integrity":
		c.Integrity = CryptIntegrity{uint32(n), strings.EqualFold(profile, "aead")}
		if !c.Integrity.AEAD && !strings.EqualFold(profile, "none") {
			// Linux 6.1 dies of a tag size without a profile behind it.
			r.fail("option", fmt.Errorf("%q: want integrity:size:none or integrity:size:aead", opt))
		}
	default:
		r.fail("option", fmt.Errorf("%q is unknown", opt))
	}
}

// SetKey gives a suspended [Crypt] its key, or another one, of the same size
// as in its table. The kernel refuses it while the device runs.
type SetKey struct{ Key Key }

// TargetType is "crypt".
func (SetKey) TargetType() string { return "crypt" }

// Text is "key set" with the key in the clear.
func (m SetKey) Text() string { return "key set " + JoinArgs(m.Key.Reveal()) }

// Validate checks the form of the key.
func (m SetKey) Validate() error { return m.Key.Validate() }

// WipeKey makes the kernel forget the key of a suspended [Crypt]. The device
// can't be resumed until it has one again: the error of a resume has the code
// EAGAIN, and the device stays suspended. Its table shows zeros as the key,
// which is a key like any other: don't load that table.
type WipeKey struct{}

// TargetType is "crypt".
func (WipeKey) TargetType() string { return "crypt" }

// Text is "key wipe".
func (WipeKey) Text() string { return "key wipe" }

// Validate has nothing to check.
func (WipeKey) Validate() error { return nil }
