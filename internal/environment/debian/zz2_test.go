package debian
import ("testing";"os";"time";"fmt")
func TestRel(t *testing.T){ k,err:=debianKeys(); if err!=nil{t.Fatal(err)}; for f,c:=range map[string]string{"/tmp/deb-exp/ir1":"bookworm","/tmp/deb-exp/ir2":"bookworm-security","/tmp/deb-exp/ir3":"bookworm-updates","/tmp/deb-exp/ir4":"trixie"}{ d,_:=os.ReadFile(f); r,err:=verifyRelease(d,c,k,time.Now()); if err!=nil{t.Error(err);continue}; fmt.Println(r.codename,r.date,r.byHash,len(r.files)) } }
