// SPDX-License-Identifier: MIT

package fails

import (
	"fmt"
	"testing"
)

func TestFails(t *testing.T) {
	t.Log("a message")
	fmt.Println("printed")
	t.Run("good", func(t *testing.T) { t.Log("of no interest") })
	t.Run("bad", func(t *testing.T) {
		t.Error("an error")
		t.Run("deep", func(t *testing.T) { t.Error("another\nof two lines") })
	})
}

func TestPasses(t *testing.T) {}
