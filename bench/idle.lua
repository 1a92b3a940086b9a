-- Each thread holds one connection that has run a statement, and does nothing more. bench/run.sh ends
-- the process when it has looked.
ffi.cdef("unsigned int sleep(unsigned int seconds);")

function thread_init()
  connection = sysbench.sql.driver():connect()
  connection:query("SELECT 1")
end

function event()
  ffi.C.sleep(1)
end
