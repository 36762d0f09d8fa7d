// SPDX-License-Identifier: MIT

package runfile

import (
	"errors"
	"io/fs"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

const headLine = `head 1 pid="12" start="345" boot="b" pidns="pid:[4026531836]" timens=""` + "\n"

func TestParse(t *testing.T) {
	owner := Owner{PID: 12, Start: 345, Boot: "b", PIDNS: "pid:[4026531836]"}
	for _, c := range []struct {
		name, text string
		want       Log
	}{
		{"empty", "", Log{}},
		{"head only", headLine, Log{Whole: true, Owner: owner}},
		{"torn head", headLine[:20], Log{}},
		{"open, noted, ended", headLine + `begin 1 a="1" b="x y"` + "\n" + `begin 2 a="2"` + "\n" +
			`note 1 b="\x00\n\"" c="=="` + "\nend 2\n",
			Log{Whole: true, Owner: owner, Open: []Left{{1, []Field{{"a", "1"}, {"b", "\x00\n\""}, {"c", "=="}}}}}},
		{"torn begin", headLine + `begin 1 a="1`, Log{Whole: true, Owner: owner}},
		{"torn note", headLine + "begin 1 a=\"1\"\nnote 1 a=\"2\"", Log{Whole: true, Owner: owner, Open: []Left{{1, []Field{{"a", "1"}}}}}},
		{"closed off tear", headLine + "begin 1 a=\"1\"\nnote 1 a=\nend 1\n",
			Log{Whole: true, Owner: owner, Damaged: []string{"note 1 a="}}},
		{"empty line", headLine + "begin 1\n\nend 1\n", Log{Whole: true, Owner: owner}},
		{"unknown", headLine + "begin 1\nfoo 1\nbegin 1\nnote 3\nend 4\nend 1 a=\"\"\n" + headLine,
			Log{Whole: true, Owner: owner, Open: []Left{{ID: 1}},
				Damaged: []string{"foo 1", "begin 1", "note 3", "end 4", `end 1 a=""`, headLine[:len(headLine)-1]}}},
		{"newer format", strings.Replace(headLine, "head 1", "head 2", 1),
			Log{Damaged: []string{strings.TrimSuffix(strings.Replace(headLine, "head 1", "head 2", 1), "\n")}}},
	} {
		if got := Parse([]byte(c.text)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func TestFileName(t *testing.T) {
	for _, kind := range []string{"dm", "a-b", "a-1-2-3"} {
		name := fileName(kind, 12, 345, 6)
		k, pid, start, ok := parseName(name)
		if !ok || k != kind || pid != 12 || start != 345 {
			t.Errorf("%s: %q %d %d %v", name, k, pid, start, ok)
		}
	}
	for _, bad := range []string{"", "dm", "dm-1-2-3", "dm-1-2.log", "-1-2-3.log", "dm-01-2-3.log", "dm-1-2--3.log",
		"dm-0-2-3.log", "D-1-2-3.log", "a/b-1-2-3.log"} {
		if _, _, _, ok := parseName(bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseStat(t *testing.T) {
	const tail = " S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 777 1000 2000 18446744073709551615 1\n"
	for _, comm := range []string{"cat", "a b", "x) R 1 (y", "new\nline", ")", ""} {
		st, err := parseStat("12 (" + comm + ")" + tail)
		if err != nil || st != (stat{'S', 9, 777}) {
			t.Errorf("%q: %+v %v", comm, st, err)
		}
	}
	for _, bad := range []string{"", "1 (x) S 1", "1 x S", "1 (x) SS" + tail[2:], "1 (x) S a b c d e f g h i j k l m n o p q r s t u"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for st, dead := range map[stat]bool{{'S', 1, 0}: false, {'Z', 1, 0}: true, {'Z', 2, 0}: false, {'X', 0, 0}: true, {'D', 1, 0}: false} {
		if st.dead() != dead {
			t.Errorf("%+v", st)
		}
	}
}

func TestError(t *testing.T) {
	err := fail("scan", "/x", syscall.ENOENT, "why")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if s := err.Error(); runtime.GOOS == "linux" && s != "run file: scan /x: no such file or directory: why" {
		t.Error(s)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(headLine + "begin 1 a=\"1\"\nnote 1 b=\"\\x00\"\nbegin 2\nend 1\n"))
	f.Add([]byte(headLine + "begin 1 a=\"1"))
	f.Add([]byte("begin 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		log := Parse(data)
		if lines := strings.Count(string(data), "\n"); len(log.Open)+len(log.Damaged) > lines {
			t.Fatal("more than there are lines")
		}
		if !log.Whole {
			return
		}
		// What was understood can be written and reads the same.
		b := appendRecord(nil, verbHead, format, log.Owner.fields())
		for _, l := range log.Open {
			b = appendRecord(b, verbBegin, l.ID, l.Fields)
		}
		again := Parse(b)
		if again.Owner != log.Owner || len(again.Damaged) != 0 || !reflect.DeepEqual(again.Open, log.Open) {
			t.Fatalf("%+v\n%+v", log, again)
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add("12 (a) b) S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 777 1000 2000")
	f.Fuzz(func(t *testing.T, data string) {
		if st, err := parseStat(data); err == nil && (st.state < 'A' || st.state > 'z') {
			t.Fatalf("%+v", st)
		}
	})
}
