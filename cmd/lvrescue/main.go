// Command lvrescue rescues LVM2 volumes from damaged disks and images.
package main

import "github.com/lvrescue/lvrescue/cmd/internal/cli"

func main() { cli.Main() }
