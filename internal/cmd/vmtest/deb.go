// SPDX-License-Identifier: MIT

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// errStop ends walkDeb early without an error.
var errStop = errors.New("stop")

// walkDeb calls f for each file of a Debian package, without unpacking it to
// disk. Names are cleaned: no leading "./" or "/", no "..".
func walkDeb(ctx context.Context, file string, f func(h *tar.Header, r io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = walkTar(out, f)
	if err == nil {
		_, err = io.Copy(io.Discard, out)
	} else {
		cancel()
	}
	if werr := cmd.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("dpkg-deb: %w: %s", werr, bytes.TrimSpace(stderr.Bytes()))
	}
	if errors.Is(err, errStop) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return nil
}

func walkTar(r io.Reader, f func(h *tar.Header, r io.Reader) error) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		h.Name = strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if h.Name == "" {
			continue
		}
		if err := f(h, t); err != nil {
			return err
		}
	}
}

// usrMerge moves a path of a package to where it lies in a system whose /bin,
// /sbin, /lib and /lib64 are links into /usr.
func usrMerge(name string) string {
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case "bin", "sbin", "lib", "lib64", "lib32", "libx32":
		return "usr/" + name
	}
	return name
}
