// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

func TestKernelMisc(t *testing.T) {
	vmtest.Require(t, "dm-mod", "dm-zero", "brd")
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Run("ReadAhead", func(t *testing.T) {
		info, err := c.Create(ctx, "ra", dm.Table{}.Append(1024, dm.Zero{}), dm.CreateOptions{ReadAhead: 4096})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Remove(ctx, info.Dev, dm.RemoveOptions{Retries: 20})
		if n, err := c.ReadAhead(ctx, info.Dev); err != nil || n != 4096 {
			t.Errorf("%v %v", n, err)
		}
		if err := c.SetReadAhead(ctx, info.Name, 255); err != nil {
			t.Error(err)
		}
		if n, err := c.ReadAhead(ctx, info.Dev); err != nil || n != 256 {
			t.Errorf("%v %v", n, err)
		}
		if n := strings.TrimSpace(vmtest.Output(t, "dmsetup", "info", "-c", "--noheadings", "-o", "read_ahead", "ra")); n != "256" {
			t.Errorf("dmsetup says %s", n)
		}
	})
	t.Run("no control node", func(t *testing.T) {
		dir, err := os.MkdirTemp("/dev", "devdir") // elsewhere nodes may not be usable
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		c, err := dm.Open(ctx, dm.WithDevDir(dir))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		info, err := c.Create(ctx, "elsewhere", dm.Table{}.Append(8, dm.Zero{}), dm.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(dir+"/mapper/elsewhere", &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
			t.Errorf("node %+v %v", st, err)
		}
		if err := c.Remove(ctx, info.Dev, dm.RemoveOptions{}); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(dir + "/mapper/elsewhere"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	})
	t.Run("no permission", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		p, err := os.StartProcess("/proc/self/exe", []string{"nobody"}, &os.ProcAttr{
			Env: append(os.Environ(), victimEnv+"=nobody"), Files: []*os.File{nil, w, w},
			Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}},
		})
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, 4096)
		n, _ := r.Read(out)
		p.Wait()
		if got := string(out[:n]); !strings.HasPrefix(got, "permission: true") {
			t.Errorf("%q", got)
		}
	})
	t.Run("removed by others", func(t *testing.T) {
		info, err := c.Create(ctx, "others", dm.Table{}.Append(8, dm.Zero{}), dm.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		vmtest.Run(t, "dmsetup", "remove", "others")
		_, err = c.Reload(ctx, info.Dev, dm.Table{}.Append(8, dm.Zero{}), dm.ReloadOptions{})
		wantErr(t, err, fs.ErrNotExist)
		wantErr(t, c.Remove(ctx, info.Dev, dm.RemoveOptions{}), fs.ErrNotExist)
		os.Remove("/dev/mapper/others")
	})
}

// nobody opens the control node as a user without rights.
func nobody() {
	_, err := dm.Open(context.Background())
	fmt.Println("permission:", errors.Is(err, fs.ErrPermission), err)
	os.Exit(0)
}
