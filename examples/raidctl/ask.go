// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/linuxblock/linuxblock"
)

var errNo = errors.New("not confirmed; nothing was changed")

// confirm asks before something is lost. --yes answers.
func (t *tool) confirm(format string, args ...any) error {
	if t.yes {
		return nil
	}
	fmt.Fprintf(t.out, format+" Type yes to go on: ", args...)
	answer, err := t.in.ReadString('\n')
	if strings.TrimSpace(answer) == "yes" {
		return nil
	}
	if err != nil {
		fmt.Fprintln(t.out)
	}
	return errNo
}

// carryOut runs a plan, or prints it with --plan.
func (t *tool) carryOut(ctx context.Context, p *linuxblock.Plan) error {
	if t.plan {
		_, err := p.WriteTo(t.out)
		return err
	}
	return p.Run(ctx, linuxblock.RunOptions{Progress: func(s linuxblock.Progress) {
		switch s.State {
		case linuxblock.Done:
			fmt.Fprintf(t.out, "  %s\n", s.Name)
		case linuxblock.Undone:
			fmt.Fprintf(t.out, "  taken back: %s\n", s.Name)
		}
	}})
}
