// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"

	"github.com/linuxblock/linuxblock/dm"
)

// sweep lists and removes what a chapter left: by force, and as often as it
// helps, because one may stand on another. It closes the client.
func (s *stage) sweep(ctx context.Context, client *dm.Client, disks []disk) (left []string, err error) {
	if client == nil {
		return nil, nil
	}
	for try := 0; ; try++ {
		list, err := client.List(ctx, dm.ListOptions{NamePrefix: "tour-"})
		if err != nil {
			return left, errors.Join(err, client.Close())
		}
		if len(list) == 0 || try > 5 {
			break
		}
		for _, e := range list {
			if try == 0 {
				left = append(left, e.Name.String())
			}
			_ = client.Remove(ctx, e.Dev, dm.RemoveOptions{Force: true}) // the next round tells
		}
	}
	for _, d := range disks {
		used, err := s.inUse(d.path)
		if err != nil {
			return left, errors.Join(err, client.Close())
		}
		if used {
			left = append(left, d.path+" is still in use")
		}
	}
	found, err := client.Recover(ctx, dm.RecoverOptions{DryRun: true})
	for _, l := range found {
		left = append(left, l.String())
	}
	return left, errors.Join(err, client.Close())
}
