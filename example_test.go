// SPDX-License-Identifier: MIT

package linuxblock_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/linuxblock/linuxblock"
)

// say makes a step function that does nothing but tell.
func say(text string) func(context.Context) error {
	return func(context.Context) error { fmt.Println("  ", text); return nil }
}

// A plan can be read before it runs.
func ExamplePlan() {
	plan := &linuxblock.Plan{Title: "swap the table of vg-home"}
	plan.Do("check the new table", say("checked"), nil)
	plan.Do("load it", say("loaded"), say("dropped"))
	plan.Add(linuxblock.Step{Name: "resume", Do: say("resumed"), Final: true})
	plan.WriteTo(os.Stdout)
	if err := plan.Run(context.Background(), linuxblock.RunOptions{}); err != nil {
		fmt.Println(err)
	}
	// Output:
	// swap the table of vg-home
	//   1. check the new table (nothing to undo)
	//   2. load it
	//   3. resume (point of no return)
	//    checked
	//    loaded
	//    resumed
}

// When a step fails, those before it are taken back, last first.
func ExamplePlan_Run() {
	plan := &linuxblock.Plan{Title: "stack"}
	plan.Do("make lower", say("lower made"), say("lower removed"))
	plan.Do("make middle", say("middle made"), say("middle removed"))
	plan.Do("make upper", func(context.Context) error { return errors.New("no space") }, nil)
	err := plan.Run(context.Background(), linuxblock.RunOptions{
		Progress: func(p linuxblock.Progress) { fmt.Println(p.Name, p.State) },
	})
	fmt.Println(err)
	// Output:
	// make lower started
	//    lower made
	// make lower done
	// make middle started
	//    middle made
	// make middle done
	// make upper started
	// make upper failed
	//    middle removed
	// make middle undone
	//    lower removed
	// make lower undone
	// stack: step 3 (make upper): no space; undone 2
}

func ExampleSectors() {
	size := linuxblock.SectorsOf(10_000_000_000)
	fmt.Println(size, "or", size.Bytes(), "bytes")
	// Output: 19531250s or 10000000000 bytes
}
