// SPDX-License-Identifier: MIT

package dm

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

const key = "00112233445566778899aabbccddeeff"

// A key is in Params and Format, which load, and nowhere else.
func TestSecretsStayHidden(t *testing.T) {
	quoted := strings.ReplaceAll(key, "bb", `\bb`)
	tables := map[string]string{
		"crypt":        "0 8 crypt aes-xts-plain64 " + key + " 0 /dev/x 0",
		"crypt quoted": "0 8 crypt aes-xts-plain64 " + quoted + " 0 /dev/x 0",
		"integrity":    "0 8 integrity /dev/x 0 - J 2 internal_hash:hmac(sha256):" + key + " journal_mac:hmac(sha256):" + key,
	}
	for name, text := range tables {
		tab, err := ParseTable(text)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.ReplaceAll(tab.Format(), `\`, ""), key) {
			t.Errorf("%s: Format lost the key: %s", name, tab.Format())
		}
		raw := tab[0].Target
		shown := []string{
			tab.String(), tab[0].String(), fmt.Sprint(raw), fmt.Sprintf("%v %+v %#v %s %q", tab, tab, tab, tab, tab),
			fmt.Sprintf("%v %+v %#v", raw, raw, raw), fmt.Sprintf("%v %+v %#v", tab[0], tab[0], tab[0]),
			fmt.Sprint(tab.Validate()),
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "table", tab, "segment", tab[0], "target", raw)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "table", tab, "segment", tab[0], "target", raw)
		shown = append(shown, log.String())
		var traces []Trace
		tr := transportFunc(func(req uint32, b []byte) error {
			if req == dmwire.CmdVersion.Request() {
				dmwire.PutVersion(b, Version{Major: 4, Minor: 47})
				return nil
			}
			h, err := dmwire.ParseHeader(b)
			if err != nil {
				return err
			}
			if req == dmwire.CmdLoad.Request() {
				return einval
			}
			h.Dev = dmwire.MakeDev(254, 0)
			return h.Put(b)
		})
		c, err := Open(context.Background(), WithTransport(tr), WithTrace(func(t Trace) { traces = append(traces, t) }))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Create(context.Background(), "x", tab, CreateOptions{})
		shown = append(shown, fmt.Sprintf("%v %+v %#v", err, err, err))
		c.Message(context.Background(), Name("x"), 0, "key set "+quoted)
		for _, tr := range traces {
			shown = append(shown, string(tr.Request), string(tr.Answer), fmt.Sprint(tr.Err))
		}
		if len(traces) < 4 {
			t.Errorf("%d traces", len(traces))
		}
		for _, s := range shown {
			if strings.Contains(s, key) || strings.Contains(s, quoted) || strings.Contains(s, key[:16]) {
				t.Errorf("%s: the key shows in %.300q", name, s)
			}
		}
	}
	for _, text := range []string{"0 8 crypt aes :64:logon:name 0 /dev/x 0", "0 8 crypt aes - 0 /dev/x 0"} {
		tab, err := ParseTable(text)
		if err != nil || tab.String() != text {
			t.Errorf("%q is shown as %q, %v", text, tab, err)
		}
	}
}

func TestMaskWhatCantBeRead(t *testing.T) {
	buf := make([]byte, dmwire.HeaderSize+64)
	h := dmwire.Header{DataStart: dmwire.HeaderSize, DataSize: uint32(len(buf)), TargetCount: 9}
	if err := h.Put(buf); err != nil {
		t.Fatal(err)
	}
	copy(buf[dmwire.HeaderSize:], key+key)
	for _, cmd := range []dmwire.Command{dmwire.CmdLoad, dmwire.CmdTableStatus, dmwire.CmdMessage} {
		if got := mask(cmd, buf, cmd != dmwire.CmdTableStatus); bytes.Contains(got, []byte(key)) {
			t.Errorf("%v: %q", cmd, got[dmwire.HeaderSize:])
		}
	}
}
