// A stream through Go's net/http and a bufio.Scanner with its default limit of 64 KiB a line.
// follow URL TOKEN. net/http asks for gzip and unpacks it. Prints one line an event: name, last
// event id, data, with tabs between.

package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	id := ""
	for {
		id = follow(os.Args[1], os.Args[2], id)
		time.Sleep(300 * time.Millisecond)
	}
}

func follow(url, token, id string) string {
	request, _ := http.NewRequest("GET", url, nil)
	request.Header.Set("Authorization", "Bearer "+token)
	if id != "" {
		request.Header.Set("Last-Event-ID", id)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		fmt.Printf("#error\t\t%v\n", err)
		return id
	}
	defer response.Body.Close()
	fmt.Printf("#open\t%d\t%t\n", response.StatusCode, response.Uncompressed)
	name, data := "", ""
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "id":
			id = value
		case "data":
			data = value
		case "":
			fmt.Printf("%s\t%s\t%s\n", name, id, data)
			name, data = "", ""
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Printf("#error\t\t%v\n", err)
	} else {
		fmt.Println("#end")
	}
	return id
}
