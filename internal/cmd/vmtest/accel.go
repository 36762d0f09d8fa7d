// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/linuxblock/linuxblock/internal/cmd/vmtest/wire"
)

// probeTime is how long a probe boot may take. With KVM it is two seconds;
// where KVM is broken it usually hangs for ever.
const probeTime = 25 * time.Second

// probeAge is how long an answer is believed, within one boot of the host.
const probeAge = 24 * time.Hour

type probeAnswer struct {
	When   time.Time
	Works  bool
	Reason string
}

// chooseAccel decides how the VM runs. That /dev/kvm exists proves little: in
// a nested VM it may not run a stock kernel. So one short boot of the very
// kernel decides, and the answer is kept for this boot of the host.
func chooseAccel(ctx context.Context, cache string, o *options, k *kernel, guest string, log *tracer) (string, error) {
	if o.accel != "auto" {
		return o.accel, nil
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		log.say("using software emulation: %v", err)
		return "tcg", nil
	}
	f.Close()
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	file := filepath.Join(cache, "kvm-"+hashOf(string(boot), k.Release, kernelVersion)+".json")
	var a probeAnswer
	if data, err := os.ReadFile(file); err != nil || json.Unmarshal(data, &a) != nil || time.Since(a.When) > probeAge {
		done := log.step("probe KVM")
		err := probeKVM(ctx, o, k, guest)
		done()
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		a = probeAnswer{When: time.Now(), Works: err == nil}
		if err != nil {
			a.Reason = err.Error()
		}
		if data, err := json.Marshal(a); err == nil {
			_ = os.WriteFile(file, data, 0o644)
		}
	}
	if a.Works {
		log.say("using KVM")
		return "kvm", nil
	}
	log.say("using software emulation: KVM does not run this kernel here (%s)", a.Reason)
	return "tcg", nil
}

// probeKVM boots the kernel with an init that powers off at once.
func probeKVM(ctx context.Context, o *options, k *kernel, guest string) error {
	dir, err := os.MkdirTemp("", fmt.Sprintf("vmtest-%d-probe-", os.Getpid()))
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initrd")
	if err := writeInitrd(initrd, guest, wire.Config{Probe: true}, nil, "", "", ""); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	p := *o
	p.shell, p.disk = false, 0
	m := &machine{dir: dir, kernel: k, initrd: initrd, accel: "kvm", o: &p}
	r, err := m.start(ctx, false)
	if err != nil {
		return err
	}
	<-r.exited
	log, _ := m.console().from(0)
	switch {
	case strings.Contains(log, "vmtest probe: the kernel runs"):
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("no boot within %v", probeTime)
	case r.err != nil:
		return r.err
	}
	if t := findTrouble(log, 1); t != nil {
		return errors.New(t.line)
	}
	return errors.New("the probe ended without a word")
}
