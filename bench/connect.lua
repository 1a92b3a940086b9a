-- One event is a connection: connect, SELECT 1, disconnect.
function thread_init()
  driver = sysbench.sql.driver()
end

function event()
  local connection = driver:connect()
  connection:query("SELECT 1")
  connection:disconnect()
end
