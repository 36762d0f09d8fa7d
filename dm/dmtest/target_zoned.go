// SPDX-License-Identifier: MIT

package dmtest

// zonedTarget is the constructor of dm-zoned-target.c as far as it gets: no
// device of the double is zoned, so that it always refuses.
func zonedTarget() Target {
	return Target{Name: "zoned", Version: [3]uint32{2, 0, 0}, Autoload: true, Module: "dm-zoned", Singleton: true, New: func(a *Args) (Instance, error) {
		if len(a.Argv) < 1 {
			return nil, a.Fail(EINVAL, "Invalid argument count")
		}
		for _, path := range a.Argv {
			if _, err := a.Open(path); err != nil {
				return nil, withText(err, "Get target device failed")
			}
			if len(a.Argv) == 1 {
				return nil, a.Fail(EINVAL, "Invalid regular device")
			}
		}
		return nil, a.Fail(EINVAL, "Secondary disk is not a zoned device")
	}}
}
