package debian
import ("testing";"os";"time";"fmt";"strings")
func TestZZ(t *testing.T){
 u:=newUniverse("amd64")
 t0:=time.Now()
 for _,f:=range []string{"sec","bookworm-updates","bookworm"} { b,err:=os.ReadFile("/tmp/deb-exp/"+f); if err!=nil{t.Fatal(err)}; if err:=u.add(b,f);err!=nil{t.Fatal(err)} }
 fmt.Println("index",time.Since(t0))
 t0=time.Now()
 var names []string
 for n:=range u.raw { v,err:=u.versions(n); if err!=nil{t.Fatal(err)}; if len(v)>0 && (v[0].essential||v[0].priority=="required") {names=append(names,n)} }
 fmt.Println("parse all",time.Since(t0))
 if e:=os.Getenv("EXTRA");e!=""{names=append(names,strings.Fields(e)...)}
 t0=time.Now()
 r,err:=u.solve(names)
 fmt.Println(len(r),err,time.Since(t0))
 var sz int64
 f,_:=os.Create("/tmp/deb-exp/set.txt")
 for _,b:=range r{fmt.Fprintf(f,"%s %s\n",b.name,b.version);sz+=b.size}
 fmt.Println(sz)
 os.WriteFile("/tmp/deb-exp/names",[]byte(strings.Join(names," ")),0o644)
}
