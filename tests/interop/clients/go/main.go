// Takes the steps of a task file with pkg/sftp, and answers each in a line of JSON.
// The first argument is "plain" or "concurrent", for writes; the second one the task file.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

type client struct {
	concurrent     bool
	address        string
	user, password string
	key            string
	ssh            *ssh.Client
	sftp           *sftp.Client
}

func (c *client) connect() error {
	secret := ssh.Password(c.password)
	if c.key != "" {
		text, err := os.ReadFile(c.key)
		if err != nil {
			return err
		}
		signer, err := ssh.ParsePrivateKey(text)
		if err != nil {
			return err
		}
		secret = ssh.PublicKeys(signer)
	}
	connection, err := ssh.Dial("tcp", c.address, &ssh.ClientConfig{
		User: c.user, Auth: []ssh.AuthMethod{secret},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 30 * time.Second,
	})
	if err != nil {
		return err
	}
	session, err := sftp.NewClient(connection, sftp.UseConcurrentWrites(c.concurrent))
	if err != nil {
		connection.Close()
		return err
	}
	c.ssh, c.sftp = connection, session
	return nil
}

func (c *client) close() {
	if c.ssh != nil {
		c.sftp.Close()
		c.ssh.Close()
	}
	c.ssh = nil
}

// copyFrom copies what is behind `offset` in a local file.
func (c *client) copyFrom(local, path string, flags int, offset int64) error {
	from, err := os.Open(local)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := c.sftp.OpenFile(path, flags)
	if err != nil {
		return err
	}
	if _, err = from.Seek(offset, io.SeekStart); err == nil {
		_, err = to.Seek(offset, io.SeekStart)
	}
	if err == nil {
		_, err = to.ReadFrom(from)
	}
	return errors.Join(err, to.Close())
}

func (c *client) copyTo(path, local string, offset int64) error {
	from, err := c.sftp.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(local, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err = from.Seek(offset, io.SeekStart); err == nil {
		_, err = to.Seek(offset, io.SeekStart)
	}
	if err == nil {
		_, err = from.WriteTo(to)
	}
	return errors.Join(err, to.Close())
}

func (c *client) putMany(pairs []string) error {
	var all sync.WaitGroup
	failed := make([]error, len(pairs)/2)
	for at := 0; at < len(pairs); at += 2 {
		all.Add(1)
		go func() {
			defer all.Done()
			failed[at/2] = c.copyFrom(pairs[at], pairs[at+1], os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0)
		}()
	}
	all.Wait()
	return errors.Join(failed...)
}

func (c *client) take(step []string) (any, error) {
	switch step[0] {
	case "to":
		c.address, c.user, c.password = step[1]+":"+step[2], step[3], step[4]
		return nil, nil
	case "login":
		c.close()
		c.key = ""
		if len(step) > 2 {
			c.key = step[2]
		}
		return nil, c.connect()
	case "mkdir":
		return nil, c.sftp.Mkdir(step[1])
	case "put":
		return nil, c.copyFrom(step[1], step[2], os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0)
	case "resume_put":
		found, err := c.sftp.Stat(step[2])
		if err != nil {
			return nil, err
		}
		return nil, c.copyFrom(step[1], step[2], os.O_WRONLY, found.Size())
	case "get":
		return nil, c.copyTo(step[1], step[2], 0)
	case "resume_get":
		found, err := os.Stat(step[2])
		if err != nil {
			return nil, err
		}
		return nil, c.copyTo(step[1], step[2], found.Size())
	case "list":
		found, err := c.sftp.ReadDir(step[1])
		names := []string{}
		for _, each := range found {
			names = append(names, each.Name())
		}
		return names, err
	case "stat":
		found, err := c.sftp.Stat(step[1])
		if err != nil {
			return nil, err
		}
		return map[string]int64{"size": found.Size(), "mtime": found.ModTime().Unix()}, nil
	case "rename":
		return nil, c.sftp.Rename(step[1], step[2])
	case "replace":
		return "posix-rename", c.sftp.PosixRename(step[1], step[2])
	case "chmod":
		mode, err := strconv.ParseUint(step[2], 8, 32)
		if err != nil {
			return nil, err
		}
		return nil, c.sftp.Chmod(step[1], os.FileMode(mode))
	case "utime":
		seconds, err := strconv.ParseInt(step[2], 10, 64)
		if err != nil {
			return nil, err
		}
		return nil, c.sftp.Chtimes(step[1], time.Unix(seconds, 0), time.Unix(seconds, 0))
	case "remove":
		return nil, c.sftp.Remove(step[1])
	case "rmdir":
		return nil, c.sftp.RemoveDirectory(step[1])
	case "put_many":
		return nil, c.putMany(step[1:])
	}
	return nil, errors.New(step[0])
}

func answer(found any) {
	text, err := json.Marshal(found)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, each := range info.Deps {
		if each.Path == "github.com/pkg/sftp" {
			return strings.TrimPrefix(each.Version, "v")
		}
	}
	return ""
}

func main() {
	answer(map[string]string{"client": "Go pkg/sftp", "version": version()})
	task, err := os.Open(os.Args[2])
	if err != nil {
		panic(err)
	}
	c := &client{concurrent: os.Args[1] == "concurrent"}
	for lines := bufio.NewScanner(task); lines.Scan(); {
		value, err := c.take(strings.Split(lines.Text(), "\t"))
		if err != nil {
			answer(map[string]any{"ok": false, "error": err.Error()})
		} else {
			answer(map[string]any{"ok": true, "value": value})
		}
	}
	c.close()
}
