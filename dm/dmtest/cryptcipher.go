// SPDX-License-Identifier: MIT

package dmtest

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math/bits"
	"strings"
)

// blockCipher is what crypt knows of the kernel's crypto API: aes in ecb,
// cbc and xts, and cipher_null in ecb, with the IVs that need no more than a
// sector's number.
type blockCipher struct {
	name, mode string // aes, cbc
	iv         string // plain64; empty for none
	digest     string // of essiv
	count      uint32 // keys, used in turn
	keys       []tfm
}

// tfm is a cipher with a key.
type tfm struct {
	data  cipher.Block
	tweak cipher.Block // the second of xts, and that of essiv
}

func newBlockCipher(api, iv, opts string, count uint32) (*blockCipher, bool) {
	mode, name, ok := strings.Cut(strings.TrimSuffix(api, ")"), "(")
	b := &blockCipher{name: name, mode: mode, iv: iv, digest: opts, count: count}
	switch {
	case !ok || count > 64:
		return nil, false
	case iv == "essiv" && (mode != "cbc" || hashes[opts] == nil):
		return nil, false
	case name == "aes":
		return b, mode == "ecb" || mode == "cbc" || mode == "xts"
	}
	return b, name == "cipher_null" && mode == "ecb"
}

func (b *blockCipher) knowsIV() bool {
	if b.mode == "ecb" {
		b.iv = "" // it has none, whatever was asked for
	}
	switch b.iv {
	case "", "plain", "plain64", "plain64be", "null", "essiv", "benbi":
		return true
	}
	return false
}

// setKey is crypt_setkey: each of the keys gets its part.
func (b *blockCipher) setKey(key []byte) bool {
	b.keys = nil
	if b.name == "cipher_null" {
		return len(key) == 0
	}
	size := len(key) / int(b.count)
	for ; len(b.keys) < int(b.count); key = key[size:] {
		part := key[:size]
		var t tfm
		var err error
		switch {
		case b.mode == "xts":
			if len(part)%2 != 0 {
				return false
			}
			if t.tweak, err = aes.NewCipher(part[size/2:]); err != nil {
				return false
			}
			part = part[:size/2]
		case b.iv == "essiv":
			h := hashes[b.digest]()
			h.Write(part)
			if t.tweak, err = aes.NewCipher(h.Sum(nil)); err != nil {
				return false
			}
		}
		if t.data, err = aes.NewCipher(part); err != nil {
			return false
		}
		b.keys = append(b.keys, t)
	}
	return true
}

// convert encrypts or decrypts one sector. n is its number in units of 512
// bytes, which chooses the key, iv the number for its IV.
func (b *blockCipher) convert(dst, src []byte, n, iv uint64, encrypt bool) {
	if b.name == "cipher_null" {
		copy(dst, src)
		return
	}
	t := b.keys[n&uint64(b.count-1)]
	v := b.ivOf(iv, t)
	switch {
	case b.mode == "cbc" && encrypt:
		cipher.NewCBCEncrypter(t.data, v[:]).CryptBlocks(dst, src)
	case b.mode == "cbc":
		cipher.NewCBCDecrypter(t.data, v[:]).CryptBlocks(dst, src)
	default:
		if b.mode == "xts" {
			t.tweak.Encrypt(v[:], v[:])
		}
		for i := 0; i < len(src); i += aes.BlockSize {
			var block [aes.BlockSize]byte
			xor := func(to, from []byte) {
				for j := range block {
					to[j] = from[j]
					if b.mode == "xts" {
						to[j] ^= v[j]
					}
				}
			}
			xor(block[:], src[i:])
			if encrypt {
				t.data.Encrypt(block[:], block[:])
			} else {
				t.data.Decrypt(block[:], block[:])
			}
			xor(dst[i:], block[:])
			double(&v)
		}
	}
}

// double multiplies a tweak of XTS by x in GF(2^128), as IEEE 1619 has it.
func double(v *[aes.BlockSize]byte) {
	low, high := binary.LittleEndian.Uint64(v[:8]), binary.LittleEndian.Uint64(v[8:])
	carry := high >> 63 * 0x87
	binary.LittleEndian.PutUint64(v[8:], high<<1|low>>63)
	binary.LittleEndian.PutUint64(v[:8], low<<1^carry)
}

// ivOf makes the IV of a sector (crypt_iv_*_gen of dm-crypt.c).
func (b *blockCipher) ivOf(n uint64, t tfm) (v [aes.BlockSize]byte) {
	switch b.iv {
	case "plain":
		binary.LittleEndian.PutUint32(v[:], uint32(n))
	case "plain64":
		binary.LittleEndian.PutUint64(v[:], n)
	case "plain64be":
		binary.BigEndian.PutUint64(v[8:], n)
	case "essiv":
		binary.LittleEndian.PutUint64(v[:], n)
		t.tweak.Encrypt(v[:], v[:])
	case "benbi":
		// Counted in blocks of the cipher, from 1.
		shift := 9 - (bits.Len(aes.BlockSize) - 1)
		binary.BigEndian.PutUint64(v[8:], n<<shift+1)
	}
	return v
}
